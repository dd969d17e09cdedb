"""Which utterance ids can be names of files: every stage writes some under them."""

import unicodedata
from collections.abc import Iterable

from espnet_ext.data.characters import find_hidden, name_character, show
from espnet_ext.errors import InputError, summarize

# A file name may have 255 bytes; `.<id>.flac.<8 characters>.flac` is the longest that is written.
MAX_BYTES = 235


def id_problem(name: str) -> str | None:
    """Say why `name` cannot be the name of a file in every later stage; None if it can.

    Example:
        >>> id_problem("spk1/utt1"), id_problem("spk1-utt1")
        ("has a '/', which would name a file in another folder", None)
    """
    if not name:
        return "is empty"
    for separator in ("/", "\\"):
        if separator in name:
            return f"has a '{separator}', which would name a file in another folder"
    if " " in name:
        return "has a blank"
    if name[0] in ".-":
        kind = "a hidden file" if name[0] == "." else "an option"
        return f"starts with '{name[0]}', as the name of {kind} does"
    if len(name.encode(errors="surrogatepass")) > MAX_BYTES:
        size = len(name.encode(errors="surrogatepass"))
        return f"has {size} bytes, more than the {MAX_BYTES} that a file name leaves"
    if hidden := find_hidden(name):
        where = hidden.start() + 1
        return f"has {name_character(hidden.group())} at its character {where}"
    if unicodedata.category(name[0]).startswith("M"):
        return f"starts with {name_character(name[0])}, which joins what stands before it"
    return None


def check_ids(names: Iterable[str], where: object) -> None:
    """Refuse utterance ids that a stage could not use as the name of a file.

    Stage 2 writes `<id>.flac`, the attacks `<id>.wav`, the pretraining report `<id>.png`. The
    format stage, `validate` and every attack call this, so an id is refused before anything is
    computed or can be used everywhere.

    Args:
        names: utterance ids.
        where: the table or directory that has them, for the message.

    Raises:
        InputError: names the ids, each with what is wrong.

    Example:
        >>> check_ids(["u1", "u2"], "dump/test/wav.scp")
    """
    problems = [f"{show(name)} {problem}" for name in names if (problem := id_problem(name))]
    if problems:
        raise InputError(
            f"{where}: {len(problems)} utterance ids cannot name files, as later stages need; "
            "write other ids in all tables of the directory (letters, digits, '-', '_', '.'):\n"
            + summarize(problems)
        )
