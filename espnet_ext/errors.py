"""The one exception that speaks to a person."""

import contextlib
from collections.abc import Iterable, Iterator


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
    """`text`, cut where it is so long that the rest of a message would be overlooked.

    Example:
        >>> shortened("one two three", limit=10)
        'one two...'
    """
    return text if len(text) <= limit else text[: limit - 3] + "..."


def refuse(problems: Iterable[str], before: str = "", after: str = "", limit: int = 10) -> None:
    """Raise an `InputError` that lists problems; do nothing where there are none.

    Args:
        problems: one line each.
        before: line above them.
        after: line below them, such as what to do.
        limit: how many are shown.

    Raises:
        InputError: there are problems.

    Example:
        >>> refuse([], before="data/train is not whole:")
    """
    if found := list(problems):
        raise InputError("\n".join(filter(None, (before, summarize(found, limit), after))))


@contextlib.contextmanager
def collected(problems: list[str], where: str = "") -> Iterator[None]:
    """Add what is wrong in a block to `problems`, so that all of it is reported at once.

    Args:
        problems: list of problems, for `refuse`.
        where: place of the problem, where the error itself does not name it.

    Example:
        >>> problems = []
        >>> with collected(problems, "conf/sweep.yaml: condition 2"):
        ...     raise ValueError("is empty")
        >>> problems
        ['conf/sweep.yaml: condition 2: is empty']
    """
    try:
        yield
    # `InputError` is one; functions that read columns and numbers raise the plain one.
    except ValueError as error:
        problems.append(f"{where}: {error}" if where else str(error))


def listed(names: Iterable[str], limit: int = 3) -> str:
    """The first few of `names`, sorted.

    Example:
        >>> listed({"b", "a", "c", "d"})
        'a, b, c, ...'
    """
    found = sorted(names)
    return ", ".join(found[:limit]) + (", ..." if len(found) > limit else "")
