"""The format stage: check every audio file and write the data directory training reads.

Example:
    python -m espnet_ext.bin.format_data --source data/train --destination dump/raw/train \
        --sample_rate 16000
"""

import argparse
import dataclasses
import os

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = cli.parser(
        __doc__,
        example=(
            "espnet-ext data format --source data/test --destination dump/test --sample_rate 16000"
        ),
    )
    add = parser.add_argument
    add("--source", required=True, help="Kaldi data directory")
    add("--destination", required=True, help="data directory to write")
    add("--sample_rate", required=True, type=cli.hertz, help="in Hz")
    cli.add_switch(parser, "--resample", text="convert other rates; else an error")
    add("--min_seconds", type=cli.real(0), default=0.1, help="leave out shorter ones")
    add("--max_seconds", type=cli.real(0), default=30.0, help="leave out longer ones")
    add("--channel", type=channel, default="", help="of stereo: mix, 1, 2; else an error")
    cli.add_switch(parser, "--drop_bad_audio", text="leave out bad audio; else an error")
    text = "run the commands in wav.scp: any command, with your rights; read them first"
    cli.add_switch(parser, "--allow_pipes", text=text)
    text = "leave out a whole class or more than a tenth; else an error"
    cli.add_switch(parser, "--allow_loss", text=text)
    cli.add_characters(parser)
    cores = min(8, os.cpu_count() or 1)
    add("--num_threads", type=cli.integer(1), default=cores, help="files read at once")
    return parser


def channel(text: str) -> str:
    """Type of an option that takes a number from 1, "mix", or nothing.

    Example:
        >>> channel("mix"), channel("2")
        ('mix', '2')
    """
    if text not in ("", "mix") and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be mix or a number from 1, not '{text}'")
    return text


def main(cmd: list[str] | None = None) -> None:
    """Run the command."""
    args = cli.parse(get_parser(), cmd)
    from espnet_ext.data.format import FormatOptions, format_directory

    # The options have the names of the fields, except for these two.
    given = vars(args) | {"partial": tuple(args.partial), "threads": args.num_threads}
    options = FormatOptions(**{f.name: given[f.name] for f in dataclasses.fields(FormatOptions)})
    format_directory(args.source, args.destination, options)


if __name__ == "__main__":
    cli.run(main)
