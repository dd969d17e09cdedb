#!/usr/bin/env python3
"""Common Voice as the Kaldi data directories train, dev and test."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.data.commonvoice import (
    CLIP_HEADS,
    CLIP_SPLITS,
    VoiceClip,
    clip_directory,
    describe_selection,
    read_clips,
    release_root,
    select,
    speaker_splits,
)
from espnet_ext.errors import InputError

# Das and Chau (2022), section 4.1, US and Indian accents.
PAPER = {"train": 260_000, "dev": 1_200, "test": 1_000}
FRACTIONS = {"dev": 0.1, "test": 0.1}


def read_splits(root: Path, speaker_split: bool, seed: int) -> Mapping[str, list[VoiceClip]]:
    """The official splits, or validated.tsv divided by speakers.

    Raises:
        InputError: a table is missing or damaged.
    """
    if speaker_split:
        return speaker_splits(read_clips(root / "validated.tsv"), FRACTIONS, seed)
    missing = [name for name in CLIP_SPLITS if not (root / f"{name}.tsv").is_file()]
    if missing:
        raise InputError(
            f"{root}: no {missing[0]}.tsv; extract the release again, or divide validated.tsv by "
            "speakers with --speaker_split true"
        )
    return {name: read_clips(root / f"{name}.tsv") for name in CLIP_SPLITS}


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("corpus", type=Path, help="the extracted release")
    add("--language", default="en", help="folder of the release")
    add("--heads", nargs="*", default=["accent"], choices=CLIP_HEADS, help="labels to require")
    add("--accents", nargs="*", default=["us", "indian"], help="to keep, short codes; none for all")
    add("--speaker_split", type=cli.boolean, default=False, help="divide validated.tsv")
    add("--seed", type=int, default=0, help="of the division by speakers")
    add("--output", type=Path, default=Path("data"), help="where the data directories go")
    return parser


def main() -> None:
    """Make the data directories, and say what was kept and dropped."""
    args = get_parser().parse_args()
    root = release_root(args.corpus, args.language)
    # A list of the folder is read once: asking for a quarter of a million files takes minutes.
    files = {entry.name for entry in os.scandir(root / "clips")}
    for name, clips in read_splits(root, args.speaker_split, args.seed).items():
        selection = select(clips, files, args.heads, args.accents)
        print(*describe_selection(name, selection, PAPER[name]), sep="\n", flush=True)
        if not selection.clips:
            raise InputError(
                f"{root}/{name}.tsv: nothing is left; choose other --accents or --heads"
            )
        clip_directory(selection.clips, root.resolve() / "clips", args.heads).write(
            args.output / name
        )


if __name__ == "__main__":
    cli.run(main)
