"""Make data directories from a table of audio files; `utils/data_from_table.sh` calls this.

The table is a CSV or TSV file with a line of names and one row per audio file. Needed is the
column of the file (path); used are those of the transcript (text), speaker, label, split and
attack, found by their usual names in any case. Further columns whose values repeat become heads:
`accent` is written as utt2accent. Blanks in file names, quoted cells, Windows line ends and byte
order marks are fine. Without a column for the split, speakers are drawn for dev and test.

Example:
    utils/data_from_table.sh --case upper ~/speech/list.csv data
    utils/data_from_table.sh --path "Audio file" --label kind ~/spoofs/list.tsv data
"""

import argparse
import contextlib
import logging
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    from espnet_ext.data.table import COLUMNS

    # Not `cli.parser`, which shows one line: here, the whole docstring is the help.
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{cli.EXAMPLE}espnet-ext data from-table recordings.csv data",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for use, spellings in COLUMNS.items():
        names = ", ".join(spellings[:3])
        without = "" if use == "path" else "; none: do without"
        parser.add_argument(
            f"--{use}", default="", metavar="NAME", help=f"its column (else {names}, ...){without}"
        )
    add = parser.add_argument
    text = "further columns that become utt2<head>, e.g. 'accent age', or none (else those of "
    add("--heads", metavar="NAMES", help=f"{text}few values)")
    add("--audio_dir", metavar="DIR", help="where relative paths start (else at the table)")
    add("--case", choices=("keep", "upper", "lower"), default="keep", help="of the transcripts")
    for name in ("dev", "test"):
        text = f"share of the speakers for {name}, without a split column (default: 0.1)"
        add(f"--{name}_fraction", type=cli.real(0, below=1), default=0.1, metavar="F", help=text)
    add("--seed", type=cli.seed, default=0, help="another one draws other speakers (default: 0)")
    text = "name of the test set (else eval where labels are bonafide and spoof, or test)"
    add("--test_set", default="", metavar="NAME", help=text)
    add("table", help="CSV (commas or semicolons) or TSV file, UTF-8")
    add("destination", help="folder for the sets, e.g. data: data/train, data/dev, data/test")
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(cmd)
    cli.log_to_stderr()
    from espnet_ext.data import table
    from espnet_ext.data.directory import check_destination
    from espnet_ext.data.locks import locked

    heads = None if args.heads is None else tuple(args.heads.replace(",", " ").split())
    options = table.TableOptions(
        columns={use: getattr(args, use) for use in table.COLUMNS},
        heads=() if heads == (table.UNUSED,) else heads,
        audio_dir=args.audio_dir,
        case=args.case,
        dev_fraction=args.dev_fraction,
        test_fraction=args.test_fraction,
        seed=args.seed,
        test_set=args.test_set,
    )
    sets = table.from_table(args.table, options)
    # All are checked before the first is written, and all are locked while one is written.
    for name in sets:
        check_destination(Path(args.destination, name))
    with contextlib.ExitStack() as stack:
        for name in sets:
            stack.enter_context(locked(Path(args.destination, name)))
        for name, data in sets.items():
            data.write(Path(args.destination, name))
            for line in table.describe_set(str(Path(args.destination, name)), data):
                logging.info("%s", line)


if __name__ == "__main__":
    cli.run(main)
