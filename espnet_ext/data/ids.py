"""Names that somebody else chose as names of files: ids, speakers, models, heads, conditions.

The rule, for every command: such a name is **refused** where it cannot name a file as it is, never
encoded or shortened, so that what a table says can be found on the disk. Refused are an empty name,
a slash or backslash, blanks, what nobody sees (NUL, line ends, zero-width characters), a first dot,
dash or combining mark, and more than `MAX_BYTES` bytes. Of a set of names those are refused as well
that differ in nothing but case or Unicode form: on some disks they are one file.

Tables are checked with `check_ids` before anything is computed; every path with such a name in it
is made by `file_of`, which refuses it once more.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

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
    # Names that are not UTF-8 hold surrogates, which a strict encoder refuses.
    if len(name.encode(errors="surrogatepass")) > MAX_BYTES:
        size = len(name.encode(errors="surrogatepass"))
        return f"has {size} bytes, more than the {MAX_BYTES} that a file name leaves"
    if hidden := find_hidden(name):
        where = hidden.start() + 1
        return f"has {name_character(hidden.group())} at its character {where}"
    if unicodedata.category(name[0]).startswith("M"):
        return f"starts with {name_character(name[0])}, which joins what stands before it"
    return None


def file_of(folder: str | Path, name: str, suffix: str = "") -> Path:
    """The file, or with no suffix the directory, of an utterance, a speaker, a model, a head...

    Every path that has a name in it which somebody else chose is made here.

    Args:
        folder: in which it lies.
        name: as tables, configurations and logs have it.
        suffix: with its dot.

    Raises:
        InputError: `name` cannot be the name of a file, see the rule above.

    Example:
        >>> file_of("wav", "utt1", ".wav").as_posix()
        'wav/utt1.wav'
    """
    if problem := id_problem(name):
        raise InputError(
            f"{show(name)} cannot name a file or directory in {folder}: it {problem}; rename it"
        )
    return Path(folder) / f"{name}{suffix}"


def name_problems(names: Iterable[str]) -> dict[str, str]:
    """Why some of the names that belong together cannot be names of files, by name.

    Example:
        >>> name_problems(["u1", "U1", "u2"])
        {'U1': "is 'u1' in another case or Unicode form, and the same file on some disks"}
    """
    problems: dict[str, str] = {}
    folded: dict[str, str] = {}
    for name in names:
        # macOS and Windows compare names without case, and HFS+ changes their Unicode form.
        first = folded.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if problem := id_problem(name):
            problems[name] = problem
        elif first != name:
            problems[name] = (
                f"is {show(first)} in another case or Unicode form, and the same file on some disks"
            )
    return problems


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
    problems = [f"{show(name)} {problem}" for name, problem in name_problems(names).items()]
    if problems:
        raise InputError(
            f"{where}: {len(problems)} utterance ids cannot name files, as later stages need; "
            "write other ids in all tables of the directory (letters, digits, '-', '_', '.'):\n"
            + summarize(problems)
        )
