"""Kaldi tables: text files of `key value...` lines, such as wav.scp, text or utt2spk.

ESPnet reads these files with rules that are easy to break by hand: a key is a word, a
label list is split at every single blank, files are sorted by the bytes of their keys.
The reader here refuses what would fail or be misread later, and names file and line.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.files import decode, lines_of, read_bytes, write_lines
from espnet_ext.errors import InputError, refuse

_BAD_BLANK = re.compile(r"[^\S ]| {2,}|^ | $")
_BLANKS = {" ": "a blank at the start or end", "\t": "a tab", "\r": "a Windows line end"}
_FIX = "run utils/fix_data_dir.sh on the directory"
_CLEAN = r"sed -i '1s/^\xEF\xBB\xBF//; s/[ \t\r]\+/ /g; s/^ \| $//g; /^$/d'"


def read_table(
    path: str | Path, *, allow_empty: bool = False, strict: bool = True
) -> dict[str, str]:
    """Read a table of `key value...` lines, in the order of the file.

    Args:
        path: the file. Values of `*.scp` files are paths or commands, so blanks inside
            them are kept and never an error.
        allow_empty: accept keys without a value (a hypothesis may be empty).
        strict: refuse tabs, repeated, leading and trailing blanks and lines that appear
            twice; otherwise squeeze blanks and drop the second of two equal lines.

    Raises:
        InputError: the file is missing or not UTF-8; a key appears twice with different
            values; a value is missing; with `strict`, the blanks above. All lines are
            reported at once.

    Example:
        >>> read_table("data/train/utt2spk")            # doctest: +SKIP
        {'theo-001': 'theo', 'theo-002': 'theo'}
    """
    table, problems = parse_table(path, allow_empty=allow_empty, strict=strict)
    refuse(problems)
    return table


def parse_table(
    path: str | Path,
    *,
    allow_empty: bool = False,
    strict: bool = True,
    rules: CharacterRules | None = None,
) -> tuple[dict[str, str], list[str]]:
    """Read a table as `read_table` does, but return the problems of its lines with it.

    A file whose only line ends are carriage returns is one of an old Mac, or of an export: refused
    where `strict`, else read as the lines that it has.

    Args:
        path: the file.
        allow_empty: see `read_table`.
        strict: see `read_table`.
        rules: which characters it may have; None for any, as what a model writes has.

    Raises:
        InputError: the file is missing or not UTF-8.
    """
    path = Path(path)
    # Strict reading reports a byte order mark, mending drops it.
    text = decode(read_bytes(path), path, "utf-8" if strict else "utf-8-sig")
    check_line_ends(path, text, allow_old_mac=not strict)
    paths = path.suffix == ".scp"
    table: dict[str, str] = {}
    first_line: dict[str, int] = {}
    problems = []
    for number, line in enumerate(lines_of(text if "\n" in text else text.replace("\r", "\n")), 1):
        problem = None
        if rules is not None:
            line = rules.mend(line, path_value=paths)
            transcript = path.name.startswith("text")
            problem = rules.problem(line, path_value=paths, transcript=transcript)
        key, value = [*line.split(maxsplit=1), "", ""][:2]
        value = value.rstrip() if paths else " ".join(value.split())
        # `rules` call a byte order mark a hidden character; `_line_problem` says what it is.
        if not problem or line.startswith("\ufeff"):
            problem = _line_problem(line, key, value, path, allow_empty, strict)
        if key in table and (strict or table[key] != value):
            problem = f"'{key}' stands in line {first_line[key]} already; remove one of the two"
        if problem:
            problems.append(f"{path}:{number}: {problem}")
        if key and key not in table:
            table[key], first_line[key] = value, number
    return table, problems


def check_line_ends(path: str | Path, text: str, *, allow_old_mac: bool = False) -> None:
    """Refuse carriage returns that are not before a newline: they hide lines in a line.

    Args:
        path: the file, for the message.
        text: its content.
        allow_old_mac: accept a text whose only line ends are carriage returns.

    Raises:
        InputError: names the line and the column.
    """
    found = re.search(r"\r+(?![\r\n])", text)
    if found is None or (found.end() == len(text) and "\n" in text):
        return
    if allow_old_mac and "\n" not in text:
        return
    line, before = text.count("\n", 0, found.start()) + 1, text.rfind("\n", 0, found.start())
    cure = f"tr '\\r' '\\n' < {path} makes every one of them a line end"
    if "\n" not in text:
        cure = f"these are line ends of an old Mac; {_FIX}, or {cure}"
    raise InputError(
        f"{path}:{line}: a carriage return at column {found.start() - before}, inside the line; "
        f"{cure}"
    )


def _line_problem(
    line: str, key: str, value: str, path: Path, allow_empty: bool, strict: bool
) -> str | None:
    # Outside of a data directory, as of the targets of an attack, there is no directory to fix.
    listed = path.name.startswith(("text", "utt2", "spk2")) and (path.parent / "wav.scp").is_file()
    in_directory = path.suffix == ".scp" or listed
    fix = _FIX if in_directory else f"{_CLEAN} {shlex.quote(str(path))} cleans the file"
    if not key:
        return f"empty line; {fix}" if strict else None
    if line.startswith("\ufeff"):
        return f"starts with a byte order mark; {fix}"
    if not value:
        return None if allow_empty else f"'{key}' has no value"
    if strict and path.suffix != ".scp" and (match := _BAD_BLANK.search(line)):
        blank, column = match.group(), match.start() + 1
        cure = fix if blank[0] in _BLANKS else "utils/fix_data_dir.sh --clean true makes it plain"
        name = _BLANKS.get(blank, f"the blank character U+{ord(blank[0]):04X}")
        name = name if len(blank) == 1 else "several blanks in a row"
        return f"{name} at column {column}; {cure}"
    return None


def write_table(path: str | Path, table: Mapping[str, str]) -> None:
    """Write `table` sorted by key, whole or not at all.

    Sorting by code point is the order of `LC_ALL=C sort`, for UTF-8 keeps that order.

    Raises:
        InputError: a key or value could not be read back with `read_table`.
    """
    path = Path(path)
    problems = []
    for key, value in table.items():
        if key.split() != [key]:
            problems.append(f"{path}: the key '{key}' is empty or has a blank")
        elif "\n" in value:
            problems.append(f"{path}: the value of '{key}' has a line break")
        elif found := _line_problem(f"{key} {value}", key, value, path, True, True):
            # Without the advice of `_line_problem`, which is on a file that was read.
            problems.append(f"{path}: '{key}': {found.partition(';')[0]}")
    refuse(problems)
    write_lines(path, [f"{key} {table[key]}".rstrip() for key in sorted(table)])


def utt2spk_to_spk2utt(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Invert utt2spk; the utterances of a speaker are sorted and joined by blanks.

    Raises:
        InputError: a speaker is not one word.

    Example:
        >>> utt2spk_to_spk2utt({"u1": "a", "u2": "b", "u3": "a"})
        {'a': 'u1 u3', 'b': 'u2'}
    """
    refuse(
        f"utt2spk: the speaker of '{u}' is '{s}', not one word"
        for u, s in utt2spk.items()
        if s.split() != [s]
    )
    spk2utt: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(spk2utt[speaker]) for speaker in sorted(spk2utt)}


def spk2utt_to_utt2spk(spk2utt: Mapping[str, str]) -> dict[str, str]:
    """Invert spk2utt, whose values are utterances joined by blanks.

    Raises:
        InputError: an utterance belongs to two speakers.

    Example:
        >>> spk2utt_to_utt2spk({"a": "u1 u3", "b": "u2"})
        {'u1': 'a', 'u2': 'b', 'u3': 'a'}
    """
    pairs = sorted((u, speaker) for speaker, value in spk2utt.items() for u in value.split())
    twice = dict.fromkeys(a[0] for a, b in pairwise(pairs) if a[0] == b[0])
    refuse(f"utterance '{u}' stands in spk2utt twice" for u in twice)
    return dict(pairs)


def filter_lines(
    lines: Iterable[bytes], ids: Iterable[bytes], *, exclude: bool = False, field: int = 1
) -> list[bytes]:
    """Keep the lines whose `field`-th word is the first word of a line of `ids`.

    Works on bytes, so that lists in any encoding pass through unchanged.
    """
    wanted = {line.split(maxsplit=1)[0] for line in ids if line.strip()}
    return [
        line
        for line in lines
        if wanted.isdisjoint(line.split(maxsplit=field)[field - 1 : field]) == exclude
    ]


def split_lines(lines: list[bytes], parts: int) -> list[list[bytes]]:
    """Split `lines` into `parts` contiguous lists whose lengths differ by one at most.

    Raises:
        InputError: there are fewer lines than parts.
    """
    if len(lines) < parts:
        raise InputError(f"cannot split {len(lines)} lines into {parts} parts; use fewer jobs")
    bounds = [len(lines) * part // parts for part in range(parts + 1)]
    return [lines[a:b] for a, b in pairwise(bounds)]
