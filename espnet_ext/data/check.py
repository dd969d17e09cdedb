"""Check Kaldi data directories."""

import re
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path

from espnet_ext.data.characters import NO_EXCEPTION, CharacterRules
from espnet_ext.data.directory import (
    PARTIAL,
    DataDirectory,
    Kind,
    is_pipe,
    parse_directory,
    parse_segment,
)
from espnet_ext.data.ids import check_ids
from espnet_ext.data.kaldi import utt2spk_to_spk2utt
from espnet_ext.errors import InputError, collected, listed, refuse


def validate(
    directory: str | Path,
    *,
    text: bool = True,
    wav: bool = True,
    allow_empty: Collection[str] = (),
    partial: Collection[str] = (),
    rules: CharacterRules = NO_EXCEPTION,
) -> DataDirectory:
    """Check that a data directory is whole, sorted and consistent, and read it.

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
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory")
    data, problems = parse_directory(directory, True, allow_empty, rules)
    needed = ["utt2spk", "spk2utt", *(["text"] if text else []), *(["wav.scp"] if wav else [])]
    problems = [
        f"{directory / n}: no such file" for n in needed if not (directory / n).is_file()
    ] + problems
    problems += table_problems(directory, data, partial)
    problems += key_problems(data, partial)
    for key, value in data.tables.get("wav.scp", {}).items() if wav else ():
        # An entry of a Kaldi archive is 'file.ark:1234'.
        if not is_pipe(value) and not Path(re.sub(r"(\.ark):\d+$", r"\1", value)).is_file():
            starts = f"(relative paths start at {Path.cwd()})"
            problems.append(f"wav.scp: '{key}': no such file {value} {starts}")
    refuse(
        problems,
        f"{directory}: not a valid data directory:",
        "utils/fix_data_dir.sh mends order, blanks and utterances that some files lack; a file "
        "that is meant to list a part of them is named with --partial; move a file that is only a "
        "backup out of the directory",
        limit=20,
    )
    return data


def table_problems(directory: Path, data: DataDirectory, partial: Collection[str]) -> list[str]:
    """What is wrong in one table: its order, ids, speakers and segments."""
    problems = [
        f"{directory / name}: empty"
        for name, table in data.tables.items()
        if not table and name not in {*partial, *PARTIAL}
    ]
    for name, table in data.tables.items():
        if late := next((pair for pair in pairwise(table) if pair[1] < pair[0]), None):
            problems.append(
                f"{directory / name}: not sorted, '{late[1]}' stands after '{late[0]}' "
                "(LC_ALL=C order)"
            )
    utt2spk, spk2utt = data.tables.get("utt2spk", {}), data.tables.get("spk2utt", {})
    with collected(problems):
        check_ids(utt2spk, directory / "utt2spk")
    with collected(problems):
        for speaker, expected in utt2spk_to_spk2utt(utt2spk).items():
            if speaker in spk2utt and sorted(spk2utt[speaker].split()) != expected.split():
                problems.append(
                    f"spk2utt: the utterances of speaker '{speaker}' are not those of utt2spk"
                )
    problems += [
        f"segments: utterance '{utterance}': '{value}' is not '<recording> <start> <end>' "
        "in seconds with start < end (-1: end of the recording)"
        for utterance, value in data.tables.get("segments", {}).items()
        if parse_segment(value) is None
    ]
    return problems


def key_problems(data: DataDirectory, partial: Collection[str]) -> Iterator[str]:
    """Compare the keys of each table with those of the table that decides for its kind."""
    tables = data.tables
    if "utt2spk" not in tables:
        return
    utterances = tables["utt2spk"].keys()
    every: dict[Kind, set[str]] = {
        "recording": {data.recording(utterance) for utterance in utterances},
        "speaker": set(tables["utt2spk"].values()),
    }
    for kind in ("utterance", "recording", "speaker"):
        decides = "segments" if kind == "recording" else "utt2spk"
        for name in data.names(kind):
            keys = tables[name].keys()
            if kind == "utterance":
                # Utterances that this table may leave out are not expected in it.
                expected = utterances & (keys | data.lacking(name, utterances, partial))
            else:
                expected = every[kind] & keys if name in partial else every[kind]
            for here, lacking, there in (
                (decides, expected - keys, name),
                (name, keys - expected, decides),
            ):
                if lacking:
                    yield f"{len(lacking)} in {here} and not in {there}: {listed(lacking)}"
