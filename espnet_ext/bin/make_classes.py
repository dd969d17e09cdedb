"""List the classes of an utterance classification head."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Write the known labels of a utt2<head> file.",
        example="espnet-ext classes --labels dump/train/utt2accent --output accent.txt",
    )
    parser.add_argument(
        "--labels", required=True, help="'utterance label' lines of the training set"
    )
    parser.add_argument("--check", nargs="*", default=[], help="files that must have no others")
    parser.add_argument("--output", required=True, help="one class per line, sorted")
    return parser


def main() -> None:
    """Write the classes and show them."""
    args = get_parser().parse_args()
    from espnet_ext.data.files import write_lines
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.data.labels import check_labels, classes

    found = classes(read_table(args.labels), Path(args.labels).name)
    for path in args.check:
        check_labels(read_table(path), found, path)
    write_lines(args.output, found)
    print(f"{args.output}: {', '.join(found)}")


if __name__ == "__main__":
    cli.run(main)
