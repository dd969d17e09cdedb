#!/usr/bin/env python3
"""Subsets of LibriSpeech as one Kaldi data directory, or two with disjoint speakers.

Source of the counts: the corpus as released at openslr.org/12.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.data.corpus import (
    CorpusUtterance,
    data_directory,
    folder_with,
    in_order_of_hashes,
)
from espnet_ext.data.directory import DataDirectory, load
from espnet_ext.data.ids import id_problem
from espnet_ext.data.lines import parse_each, read_lines
from espnet_ext.errors import InputError, listed, refuse

OFFICIAL_COUNTS = {
    "train-clean-100": 28539,
    "train-clean-360": 104014,
    "train-other-500": 148688,
    "dev-clean": 2703,
    "dev-other": 2864,
    "test-clean": 2620,
    "test-other": 2939,
}
_SEXES = {"F": "female", "M": "male"}
_FETCH = "no such file; fetch the corpus again"


def corpus_root(path: str | Path) -> Path:
    """The folder that has SPEAKERS.TXT: `path` or its `LibriSpeech/`.

    Raises:
        InputError: neither has it.
    """
    return folder_with("SPEAKERS.TXT", Path(path), "LibriSpeech", "LIBRISPEECH")


def read_speakers(path: str | Path) -> dict[str, str]:
    """Gender ("female" or "male") of every reader, from SPEAKERS.TXT.

    Raises:
        InputError: the file is missing; names the line that is not
            `ID | SEX | SUBSET | MINUTES | NAME`.
    """

    def _parse(line: str) -> tuple[str, str]:
        # Names of readers may have a bar as well.
        fields = [part.strip() for part in line.split("|", 4)]
        if len(fields) < 4 or fields[1] not in _SEXES:
            raise ValueError("not 'ID | F or M | SUBSET | MINUTES | NAME'")
        return fields[0], _SEXES[fields[1]]

    lines = enumerate(read_lines(path, _FETCH), 1)
    readers = ((n, line) for n, line in lines if line.strip() and not line.startswith(";"))
    genders, problems = parse_each(path, readers, _parse)
    refuse(problems, after="fetch the file again")
    return dict(genders)


def read_subset(folder: str | Path, subset: str) -> list[CorpusUtterance]:
    """Utterances of a subset, as its transcript files list them.

    Args:
        folder: has the subsets as folders.
        subset: e.g. "train-clean-360".

    Raises:
        InputError: the subset is not there or has no transcripts; a bad line (names file and
            line); an audio file of a transcript is missing.
    """
    root = Path(folder, subset)
    transcripts = sorted(root.glob("*/*/*.trans.txt"))
    if not transcripts:
        present = sorted(path.name for path in Path(folder).glob("*") if path.is_dir())
        raise InputError(
            f"{root}: no transcripts (reader/chapter/reader-chapter.trans.txt) there; "
            f"subsets that are there: {', '.join(present) or 'none'}"
        )
    utterances: list[CorpusUtterance] = []
    problems: list[str] = []
    for path in transcripts:
        chapter = (f"{path.parent.parent.name}-{path.parent.name}-", path.parent)
        lines = ((n, (line, *chapter)) for n, line in enumerate(read_lines(path, _FETCH), 1))
        found, wrong = parse_each(path, lines, _utterance, key=lambda found: found.name)
        utterances += found
        problems += wrong
    refuse(problems, before=f"{root} is not whole; fetch it again:")
    return utterances


def _utterance(given: tuple[str, str, Path]) -> CorpusUtterance:
    """Parse `reader-chapter-number TRANSCRIPT` of the chapter with a prefix and a folder."""
    line, prefix, folder = given
    name, _, text = line.partition(" ")
    audio = folder / f"{name}.flac"
    if problem := id_problem(name):
        raise ValueError(problem)
    if not name.startswith(prefix) or not name.removeprefix(prefix).isdigit():
        raise ValueError(f"'{name}' is not an utterance of this chapter ({prefix}0000)")
    if not text.strip():
        raise ValueError(f"utterance {name} has no transcript")
    if not audio.is_file():
        raise ValueError(f"utterance {name} has no audio file {audio}")
    return CorpusUtterance(name, prefix.split("-")[0], audio, {"text": " ".join(text.split())})


def describe_subset(subset: str, utterances: Sequence[CorpusUtterance]) -> str:
    """One line about a subset: how many utterances, and whether it is whole by count.

    Example:
        >>> describe_subset("dev-clean", [])
        'dev-clean: 0 utterances, 0 speakers; not the official subset (2703 utterances)'
    """
    speakers = len({utterance.speaker for utterance in utterances})
    text = f"{subset}: {len(utterances)} utterances, {speakers} speakers"
    official = OFFICIAL_COUNTS.get(subset, -1)
    if official == len(utterances):
        return f"{text}; the official subset"
    return text if official < 0 else f"{text}; not the official subset ({official} utterances)"


def held_out_speakers(speakers: Iterable[str], fraction: float, seed: int = 0) -> set[str]:
    """Choose the speakers to hold out for validation, see `in_order_of_hashes`.

    Args:
        speakers: names, which may repeat.
        fraction: of the speakers to choose, above 0 and below 1. At least one is chosen and
            at least one is left.
        seed: another one chooses others.

    Raises:
        InputError: the fraction is not between 0 and 1, or there is only one speaker.

    Example:
        >>> len(held_out_speakers(["1089", "1995", "2412", "2414"], 0.5))
        2
    """
    names = in_order_of_hashes(speakers, seed)
    if not 0.0 < fraction < 1.0:
        raise InputError(f"a fraction of {fraction} cannot be held out; use one between 0 and 1")
    if len(names) < 2:
        raise InputError(f"{len(names)} speaker(s) cannot be split in two; use more subsets")
    return set(names[: min(max(1, round(fraction * len(names))), len(names) - 1)])


def librispeech_directory(
    utterances: Sequence[CorpusUtterance], genders: Mapping[str, str]
) -> DataDirectory:
    """A Kaldi data directory: wav.scp utt2spk text utt2gender.

    The speaker is the reader, not reader and chapter as in Kaldi's own recipe: speakers are
    held out and drawn as a whole.

    Args:
        utterances: of one subset or several.
        genders: see `read_speakers`.

    Raises:
        InputError: a reader is not in SPEAKERS.TXT.
    """
    unknown = {u.speaker for u in utterances} - genders.keys()
    if unknown:
        raise InputError(
            f"SPEAKERS.TXT lacks the readers {listed(unknown, 5)} ({len(unknown)} in all); "
            "fetch the file again"
        )
    return data_directory(
        u._replace(values={**u.values, "utt2gender": genders[u.speaker]}) for u in utterances
    )


TABLES = ("wav.scp", "utt2spk")  # all that pretraining needs of other corpora


def read_all(root: Path, subsets: list[str]) -> list[CorpusUtterance]:
    """Utterances of all subsets, with a line about each.

    Raises:
        InputError: see `read_subset`.
    """
    utterances = []
    for subset in dict.fromkeys(subsets):
        found = read_subset(root, subset)
        print(describe_subset(subset, found), flush=True)
        utterances += found
    return utterances


def joined(librispeech: DataDirectory, paths: list[Path]) -> DataDirectory:
    """LibriSpeech and Kaldi data directories of other corpora, with a line about each.

    Only audio and speakers are kept. Audio files with a relative path are looked for beside the
    directory, as in speechocean762.

    Raises:
        InputError: an utterance stands in two of them; see `espnet_ext.data.directory.load`.
    """
    tables = {name: dict(librispeech.tables[name]) for name in TABLES}
    for path in paths:
        data = load(path, strict=False).tables
        twice = sorted(data["utt2spk"].keys() & tables["utt2spk"].keys())
        if twice:
            raise InputError(f"{path}: utterance {twice[0]} stands in another corpus as well")
        tables["utt2spk"].update(data["utt2spk"])
        tables["wav.scp"].update(
            (name, str(path.resolve().parent / audio)) for name, audio in data["wav.scp"].items()
        )
        print(f"{path}: {len(data['utt2spk'])} utterances", flush=True)
    return DataDirectory(tables)


def write(data: DataDirectory, speakers: set[str], output: Path) -> None:
    """Write the part of `speakers`, and say how large it is."""
    utt2spk = data.tables["utt2spk"]
    part = [name for name, speaker in utt2spk.items() if speaker in speakers]
    data.keep(part).write(output)
    print(f"{output}: {len(part)} utterances, {len(speakers)} speakers", flush=True)


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("corpus", type=Path, help="has SPEAKERS.TXT and the subsets as folders")
    add("--subsets", nargs="+", required=True, help="e.g. train-clean-100 train-clean-360")
    add("--data_dirs", nargs="*", type=Path, default=[], help="Kaldi data directories to join")
    add("--output", type=Path, required=True, help="data directory")
    add("--held_out", type=float, default=0.0, help="fraction of the speakers to hold out")
    add("--held_out_output", type=Path, help="data directory of the speakers held out")
    add("--seed", type=int, default=0, help="of the choice of speakers")
    return parser


def main() -> None:
    """Make the data directories."""
    parser = get_parser()
    args = parser.parse_args()
    if bool(args.held_out) != bool(args.held_out_output):
        parser.error("--held_out and --held_out_output go together")
    root = corpus_root(args.corpus)
    genders = read_speakers(root / "SPEAKERS.TXT")
    data = librispeech_directory(read_all(root, args.subsets), genders)
    if args.data_dirs:
        data = joined(data, args.data_dirs)
    speakers = set(data.tables["utt2spk"].values())
    held_out: set[str] = set()
    if args.held_out:
        held_out = held_out_speakers(speakers, args.held_out, args.seed)
        write(data, held_out, args.held_out_output)
    write(data, speakers - held_out, args.output)


if __name__ == "__main__":
    cli.run(main)
