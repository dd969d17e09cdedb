"""Check and mend Kaldi data directories."""

import logging
import re
import shutil
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from espnet_ext.data.characters import NO_EXCEPTION, CharacterRules
from espnet_ext.data.directory import PARTIAL, DataDirectory, form_problems, load, table_files
from espnet_ext.data.files import write_aside
from espnet_ext.data.ids import check_ids
from espnet_ext.data.kaldi import parse_table, utt2spk_to_spk2utt, write_table
from espnet_ext.data.loss import check_loss
from espnet_ext.errors import InputError, listed, summarize


def validate(
    directory: str | Path,
    *,
    text: bool = True,
    wav: bool = True,
    allow_empty: Collection[str] = (),
    partial: Collection[str] = (),
    rules: CharacterRules = NO_EXCEPTION,
) -> None:
    """Check that a data directory is whole, sorted and consistent.

    Args:
        directory: the data directory.
        text: whether `text` must be there.
        wav: whether `wav.scp` must be there and its files exist.
        allow_empty: files in which a key may stand without a value.
        partial: tables that may list a part of the utterances; `utt2attack` may always leave out
            the bona fide ones.
        rules: which characters the tables may have.

    Raises:
        InputError: lists what is wrong: missing files, bad lines, duplicate or unsorted
            keys, utterances in one file and not in another, speakers of spk2utt and utt2spk
            that disagree, audio files that do not exist, utterance ids that cannot be the
            names of files, characters that cannot be seen.

    Example:
        >>> validate("data/train", text=False)   # doctest: +SKIP
    """
    problems = _problems(Path(directory), text, wav, allow_empty, partial, rules)
    if problems:
        raise InputError(
            f"{directory}: not a valid data directory:\n{summarize(problems, limit=20)}\n"
            "utils/fix_data_dir.sh mends order, blanks and utterances that some files lack; a file "
            "that is meant to list a part of them is named with --partial; move a file that is "
            "only a backup out of the directory"
        )


def _problems(
    directory: Path,
    text: bool,
    wav: bool,
    allow_empty: Collection[str],
    partial: Collection[str],
    rules: CharacterRules,
) -> list[str]:
    if not directory.is_dir():
        return [f"{directory}: no such directory"]
    required = ["utt2spk", "spk2utt", *(["text"] if text else []), *(["wav.scp"] if wav else [])]
    problems = [
        f"{directory / name}: no such file" for name in required if not (directory / name).is_file()
    ]
    data = DataDirectory({})
    for path in table_files(directory):
        try:
            table, found = parse_table(path, allow_empty=path.name in allow_empty, rules=rules)
        except InputError as error:
            problems.append(str(error))
            continue
        data.tables[path.name] = table
        problems += found + _order_problems(path, table, partial)
    problems += form_problems(directory, data) + _id_problems(directory, data)
    problems += _key_problems(data, partial) + _speaker_problems(data) + _segment_problems(data)
    if wav:
        problems += _path_problems(data)
    return problems


def _id_problems(directory: Path, data: DataDirectory) -> list[str]:
    try:
        check_ids(data.tables.get("utt2spk", {}), directory / "utt2spk")
    except InputError as error:
        return [str(error)]
    return []


def _order_problems(path: Path, table: Collection[str], partial: Collection[str]) -> list[str]:
    if not table and path.name not in {*partial, *PARTIAL}:
        return [f"{path}: empty"]
    for before, key in pairwise(table):
        if key < before:
            return [f"{path}: not sorted, '{key}' stands after '{before}' (LC_ALL=C order)"]
    return []


def _key_problems(data: DataDirectory, partial: Collection[str]) -> list[str]:
    """Compare the keys of each table with those of the table that decides for its kind."""
    tables = data.tables
    if "utt2spk" not in tables:
        return []
    utterances = tables["utt2spk"].keys()
    recordings = {data.recording(utterance) for utterance in utterances}
    problems = []
    for name in data.names("utterance"):
        expected = tables[name].keys() | data.lacking(name, utterances, partial)
        problems += _differences("utt2spk", expected & utterances, name, tables[name].keys())
    speakers = set(tables["utt2spk"].values())
    others = [(name, "segments", recordings) for name in data.names("recording")]
    others += [(name, "utt2spk", speakers) for name in data.names("speaker")]
    for name, decides, every in others:
        expected = every & tables[name].keys() if name in partial else every
        problems += _differences(decides, expected, name, tables[name].keys())
    return problems


def _differences(
    name_a: str, keys_a: Collection[str], name_b: str, keys_b: Collection[str]
) -> list[str]:
    problems = []
    for here, keys, there, others in (
        (name_a, keys_a, name_b, keys_b),
        (name_b, keys_b, name_a, keys_a),
    ):
        lacking = sorted(set(keys) - set(others))
        if lacking:
            some = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
            problems.append(f"{len(lacking)} in {here} and not in {there}: {some}")
    return problems


def _speaker_problems(data: DataDirectory) -> list[str]:
    utt2spk, spk2utt = data.tables.get("utt2spk"), data.tables.get("spk2utt")
    if utt2spk is None or spk2utt is None:
        return []
    try:
        expected = utt2spk_to_spk2utt(utt2spk)
    except InputError as error:
        return [str(error)]
    return [
        f"spk2utt: the utterances of speaker '{speaker}' are not those of utt2spk"
        for speaker in sorted(spk2utt.keys() & expected.keys())
        if sorted(spk2utt[speaker].split()) != expected[speaker].split()
    ]


def _segment_problems(data: DataDirectory) -> list[str]:
    return [
        f"segments: utterance '{utterance}': '{value}' is not '<recording> <start> <end>' in "
        "seconds with start < end (-1: end of the recording)"
        for utterance, value in data.tables.get("segments", {}).items()
        if parse_segment(value) is None
    ]


def parse_segment(value: str) -> tuple[str, float, float | None] | None:
    """Parse `<recording> <start> <end>`; None if it is not that.

    Returns:
        The recording, the start and the end in seconds; an end of -1 is given as None.

    Example:
        >>> parse_segment("rec1 0.5 2.25"), parse_segment("rec1 2 1")
        (('rec1', 0.5, 2.25), None)
    """
    try:
        recording, start, end = value.split()
        times = float(start), float(end)
    except ValueError:
        return None
    if times[1] == -1 and 0 <= times[0] < float("inf"):
        return recording, times[0], None
    return (recording, *times) if 0 <= times[0] < times[1] < float("inf") else None


def is_pipe(value: str) -> bool:
    """Tell whether a value of wav.scp is a command that writes audio (it ends with `|`)."""
    return value.rstrip().endswith("|")


def _path_problems(data: DataDirectory) -> list[str]:
    return [
        f"wav.scp: '{key}': no such file {value} (relative paths start at {Path.cwd()})"
        for key, value in data.tables.get("wav.scp", {}).items()
        if not is_pipe(value) and not Path(_without_offset(value)).is_file()
    ]


def _without_offset(value: str) -> str:
    # An entry of a Kaldi archive is 'file.ark:1234'.
    return re.sub(r"(\.ark):\d+$", r"\1", value)


def fix(
    directory: str | Path,
    *,
    allow_loss: bool = False,
    partial: Sequence[str] = (),
    rules: CharacterRules = NO_EXCEPTION,
) -> tuple[int, int]:
    """Sort, squeeze blanks, keep what all files have and make spk2utt again.

    The files that change are copied to `.backup/` in the directory first.

    Args:
        directory: the data directory.
        allow_loss: drop utterances even if they are a whole class or more than a tenth.
        partial: tables that list a part of the utterances, and so never shrink the others;
            `utt2attack` always is one for bona fide utterances.
        rules: which characters it may have, and which of them are mended.

    Returns:
        The number of utterances kept and dropped; the log says which file lacked them.

    Raises:
        InputError: a choice that only a person can make (two values for one key, not UTF-8,
            hidden characters, a loss that is not allowed), or no utterance is left; nothing has
            been changed then.
    """
    directory = Path(directory)
    names = [path.name for path in table_files(directory)] if directory.is_dir() else []
    _check_partial(directory, names, partial)
    data = load(directory, strict=False, allow_empty=names, rules=rules)
    for name, table in data.tables.items():
        data.tables[name] = {key: value for key, value in table.items() if value}
    whole = [name for name in data.names("utterance") if name not in {*partial, *PARTIAL}]
    everything = set().union(*(data.tables[name] for name in whole))
    reasons = {"not in utt2spk": everything - data.tables["utt2spk"].keys()}
    for name in sorted(data.tables.keys() - {"utt2spk", "spk2utt"}):
        reasons[f"not in {name}"] = data.lacking(name, everything, partial)
    kept = everything.difference(*reasons.values())
    if not kept:
        raise InputError(
            f"{directory}: no utterance stands in all of "
            f"{', '.join(sorted(data.tables.keys() - {'spk2utt'}))}"
        )
    check_loss(
        data,
        everything,
        kept,
        where=directory,
        reasons=reasons,
        allowed=allow_loss,
        cure="Complete those files; or name a file that is meant to list a part of the utterances "
        "with --partial; or move a file that is only a backup out of the directory; or accept the "
        "loss with --allow_loss true",
    )
    fixed = data.keep(kept)
    _say_entries(directory, data, fixed, everything)
    _replace(directory, fixed)
    return len(kept), len(everything) - len(kept)


def _check_partial(directory: Path, names: Collection[str], partial: Sequence[str]) -> None:
    unknown = sorted(set(partial) - set(names))
    needed = sorted({"utt2spk", "wav.scp", "segments"} & set(partial))
    if needed:
        raise InputError(f"--partial {needed[0]}: every utterance needs an entry there")
    if unknown:
        raise InputError(f"--partial {unknown[0]}: {directory} has no such table")


def _say_entries(
    directory: Path, before: DataDirectory, after: DataDirectory, utterances: Collection[str]
) -> None:
    """Say which entries go though no utterance is lost: of partial tables, speakers, recordings."""
    for name in sorted(before.tables.keys() - {"spk2utt"}):
        rest = before.tables[name].keys() - after.tables[name].keys() - set(utterances)
        if rest:
            some = f"{len(rest)} entries of no utterance ({listed(rest)})"
            logging.warning("%s: %s: dropped %s", directory, name, some)


def _replace(directory: Path, data: DataDirectory) -> None:
    tables = {**data.tables, "spk2utt": utt2spk_to_spk2utt(data.tables["utt2spk"])}
    for name, table in tables.items():
        path = directory / name
        new = "".join(f"{key} {table[key]}\n" for key in sorted(table)).encode()
        if path.is_file() and path.read_bytes() == new:
            continue
        if path.is_file():
            with write_aside(directory / ".backup" / name) as aside:
                shutil.copy2(path, aside)
        write_table(path, table)
