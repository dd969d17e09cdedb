"""The one exception that speaks to a person."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message says what is wrong, where (file, line, utterance), and what to
    do. Commands print it without a traceback and exit with status 1; nothing
    that existed before has been overwritten when it is raised.

    Example:
        >>> raise InputError("data/train/wav.scp:3: utterance 'a1' appears twice; remove one")
        Traceback (most recent call last):
        ...
        espnet_ext.errors.InputError: data/train/wav.scp:3: utterance 'a1' appears twice; remove one
    """


def summarize(problems: list[str], limit: int = 10) -> str:
    r"""Join `problems` into one message that stays readable when there are thousands.

    Example:
        >>> summarize(["a", "b", "c"], limit=2)
        'a\nb\n... and 1 more'
    """
    shown = problems[:limit]
    if len(problems) > limit:
        shown.append(f"... and {len(problems) - limit} more")
    return "\n".join(shown)


def shortened(text: str, limit: int = 80) -> str:
    """`text`, cut where it is so long that what is said of it would be overlooked.

    Example:
        >>> shortened("one two three", limit=10)
        'one two...'
    """
    return text if len(text) <= limit else text[: limit - 3] + "..."
