#!/usr/bin/env python3
"""Subsets of LibriSpeech as one Kaldi data directory, or two with disjoint speakers."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.data.corpus import CorpusUtterance
from espnet_ext.data.directory import DataDirectory, load
from espnet_ext.data.librispeech import (
    corpus_root,
    describe_subset,
    held_out_speakers,
    librispeech_directory,
    read_speakers,
    read_subset,
)
from espnet_ext.errors import InputError

TABLES = ("wav.scp", "utt2spk")  # all that pretraining needs of other corpora


def read_all(root: Path, subsets: list[str]) -> list[CorpusUtterance]:
    """Utterances of all subsets, with a line about each.

    Raises:
        InputError: see `espnet_ext.data.librispeech.read_subset`.
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
