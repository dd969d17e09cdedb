"""Make a set of target transcripts for a small vocabulary."""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Write strings of words of a vocabulary, no word twice in one.",
        example="espnet-ext target-set --words yes no go --longest 2 --output conf/targets.txt",
    )
    add = parser.add_argument
    add("--words", nargs="+", required=True, help="the vocabulary")
    add("--longest", type=cli.integer(1), required=True, help="words in the longest string")
    add("--per_length", type=cli.integer(1), default=60, help="strings of each length")
    add("--seed", type=cli.seed, default=0, help="seed of the random draw")
    add("--output", required=True, help="one target a line")
    return parser


def main() -> None:
    """Write the set."""
    args = get_parser().parse_args()
    from espnet_ext.attack.targets import word_strings
    from espnet_ext.data.files import write_lines

    strings = word_strings(args.words, range(1, args.longest + 1), args.per_length, args.seed)
    write_lines(args.output, strings)
    print(f"{args.output}: {len(strings)} targets")


if __name__ == "__main__":
    cli.run(main)
