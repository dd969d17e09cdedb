"""Choose a target transcript for each utterance that will be attacked."""

import argparse

from espnet_ext.bin import cli
from espnet_ext.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="For each utterance, the target of closest length without a common word.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data_dir", required=True, help="with text and utt2spk")
    add("--target_set", default="lorem_ipsum", help="lorem_ipsum (paper), or one target a line")
    add("--length_unit", default="word", choices=("word", "character"), help="of 'closest length'")
    add("--num_utts", type=int, default=0, help="attack so many, from all speakers; 0 for all")
    add("--output", required=True, help="'utterance transcript' lines")
    return parser


def main() -> None:
    """Write the targets."""
    args = get_parser().parse_args()
    from pathlib import Path

    from espnet_ext.attack.targets import (
        choose_targets,
        lorem_ipsum,
        read_candidates,
        spread_over_speakers,
    )
    from espnet_ext.data.kaldi import read_table, write_table

    text = read_table(Path(args.data_dir) / "text")
    chosen = spread_over_speakers(read_table(Path(args.data_dir) / "utt2spk"), args.num_utts)
    lacking = [name for name in chosen if name not in text]
    if lacking:
        raise InputError(f"{args.data_dir}/text has no transcript of {', '.join(lacking[:5])}")
    named = args.target_set == "lorem_ipsum"
    candidates = lorem_ipsum() if named else read_candidates(args.target_set)
    targets = choose_targets({name: text[name] for name in chosen}, candidates, args.length_unit)
    write_table(args.output, targets)
    print(f"{args.output}: {len(targets)} utterances, {len(set(targets.values()))} targets")


if __name__ == "__main__":
    cli.run(main)
