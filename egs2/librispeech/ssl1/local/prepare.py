#!/usr/bin/env python3
"""Subsets of LibriSpeech as one Kaldi data directory, or two with disjoint speakers."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.data.librispeech import (
    Utterance,
    corpus_root,
    data_directory,
    describe,
    held_out_speakers,
    read_speakers,
    read_subset,
)


def read_all(root: Path, subsets: list[str]) -> list[Utterance]:
    """Utterances of all subsets, with a line about each.

    Raises:
        InputError: see `espnet_ext.data.librispeech.read_subset`.
    """
    utterances = []
    for subset in dict.fromkeys(subsets):
        found = read_subset(root, subset)
        print(describe(subset, found), flush=True)
        utterances += found
    return utterances


def write(utterances: list[Utterance], genders: dict[str, str], output: Path) -> None:
    """Write a data directory, and say how large it is."""
    data_directory(utterances, genders).write(output)
    speakers = len({utterance.speaker for utterance in utterances})
    print(f"{output}: {len(utterances)} utterances, {speakers} speakers", flush=True)


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("corpus", type=Path, help="has SPEAKERS.TXT and the subsets as folders")
    add("--subsets", nargs="+", required=True, help="e.g. train-clean-100 train-clean-360")
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
    utterances = read_all(root, args.subsets)
    held_out: set[str] = set()
    if args.held_out:
        held_out = held_out_speakers((u.speaker for u in utterances), args.held_out, args.seed)
        write([u for u in utterances if u.speaker in held_out], genders, args.held_out_output)
    write([u for u in utterances if u.speaker not in held_out], genders, args.output)


if __name__ == "__main__":
    cli.run(main)
