"""Work on Kaldi data directories and tables; the scripts in `utils/` call this.

Sub-commands take the arguments of the Kaldi scripts they stand for. In options, `_` and
`-` are the same.
"""

import argparse
import codecs
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.data import check, kaldi, operations, overlap
from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.files import write_aside, write_json
from espnet_ext.errors import InputError

_AFFIXES = ("--utt-prefix", "--utt-suffix", "--spk-prefix", "--spk-suffix")


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = cli.parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (add_arguments, function, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        add_arguments(command)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Run a sub-command."""
    args = get_parser().parse_args(_normalize(sys.argv[1:] if cmd is None else cmd))
    cli.log_to_stderr()
    args.function(args)


def _normalize(arguments: Iterable[str]) -> list[str]:
    """Join `--utt-suffix -noise` with `=`, for argparse takes `-noise` for an option."""
    result: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            result.append(argument)
            continue
        name = name.replace("_", "-")
        following = None if equals or name not in _AFFIXES else next(rest, None)
        result.append(f"{name}={following}" if following is not None else name + equals + value)
    return result


def _validate_arguments(parser: argparse.ArgumentParser) -> None:
    for option in ("--no-text", "--no-wav"):
        parser.add_argument(option, action="store_true")
    for option in ("--no-feats", "--no-spk-sort", "--non-print"):
        parser.add_argument(option, action="store_true", help="always so; for Kaldi's callers")
    cli.add_characters(parser)
    parser.add_argument("directory")


def _rules(args: argparse.Namespace) -> CharacterRules:
    return CharacterRules(allow_invisible=args.allow_invisible)


def _validate(args: argparse.Namespace) -> None:
    check.validate(
        args.directory,
        text=not args.no_text,
        wav=not args.no_wav,
        partial=args.partial,
        rules=_rules(args),
    )
    print(f"{args.directory}: valid data directory")


def _fix_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_switch(
        parser, "--allow-loss", text="drop even a whole class or more than a tenth; else an error"
    )
    cli.add_switch(
        parser,
        "--clean",
        text="delete invisible characters, make every blank a plain one; else an error",
    )
    parser.add_argument(
        "--normalize",
        choices=("NFC", "NFD", "NFKC", "NFKD"),
        help="bring all ids, transcripts and labels to this Unicode form",
    )
    cli.add_characters(parser)
    parser.add_argument("directory")


def _fix(args: argparse.Namespace) -> None:
    rules = CharacterRules(args.allow_invisible, args.clean, args.normalize)
    kept, dropped = operations.fix(
        args.directory, allow_loss=args.allow_loss, partial=args.partial, rules=rules
    )
    print(f"{args.directory}: kept {kept} utterances, dropped {dropped}")


def _copy_arguments(parser: argparse.ArgumentParser) -> None:
    for option in _AFFIXES:
        parser.add_argument(option, default="")
    parser.add_argument("--validate-opts", help="ignored; for Kaldi's callers")
    parser.add_argument("source")
    parser.add_argument("destination")
    cli.add_characters(parser)


def _copy(args: argparse.Namespace) -> None:
    affixes = {name: getattr(args, name) for name in (a[2:].replace("-", "_") for a in _AFFIXES)}
    operations.copy(args.source, args.destination, rules=_rules(args), **affixes)


def _subset_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--utt-list", metavar="FILE", help="utterances, first word of each line")
    which.add_argument("--first", action="store_true", help="the first N, not N spread evenly")
    cli.add_switch(
        parser,
        "--allow-loss",
        text="accept that more than a tenth of the list is not there; else an error",
    )
    parser.add_argument("source")
    parser.add_argument("number", nargs="?", type=cli.integer(1), metavar="N")
    parser.add_argument("destination")
    cli.add_characters(parser)


def _subset(args: argparse.Namespace) -> None:
    if (args.utt_list is None) == (args.number is None):
        raise InputError("give either --utt-list <file> <source> <destination> or a number N")
    if args.utt_list is not None:
        utterances = list(kaldi.read_table(args.utt_list, allow_empty=True, strict=False))
    else:
        utterances = _choose(args.source, args.number, args.first)
    operations.subset(
        args.source,
        args.destination,
        utterances,
        allow_loss=args.allow_loss,
        rules=_rules(args),
    )


def _choose(source: str, number: int, first: bool) -> list[str]:
    utterances = sorted(kaldi.read_table(Path(source, "utt2spk")))
    if not 1 <= number <= len(utterances):
        raise InputError(f"{source}: has {len(utterances)} utterances, not {number}")
    if first:
        return utterances[:number]
    return [utterances[i * len(utterances) // number] for i in range(number)]


def _combine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fill", help="value where a source lacks a utt2* or spk2* file")
    for option in ("--extra-files", "--skip-fix"):
        parser.add_argument(option, help="ignored; for Kaldi's callers")
    parser.add_argument("destination")
    parser.add_argument("sources", nargs="+")
    cli.add_characters(parser)


def _combine(args: argparse.Namespace) -> None:
    operations.combine(args.destination, args.sources, fill=args.fill, rules=_rules(args))


def _split_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--per-utt", action="store_true", help="do not keep speakers together")
    parser.add_argument("directory")
    parser.add_argument("number", type=cli.integer(1))
    cli.add_characters(parser)


def _split(args: argparse.Namespace) -> None:
    operations.split(args.directory, args.number, per_utt=args.per_utt, rules=_rules(args))


def _overlap_arguments(parser: argparse.ArgumentParser) -> None:
    for name, text in (
        ("train", "sets that are trained on"),
        ("valid", "sets that choose an epoch or a threshold"),
        ("test", "sets that results are reported on"),
    ):
        parser.add_argument(
            f"--{name}", nargs="+", default=[], action="extend", metavar="DIR", help=text
        )
    cli.add_switch(
        parser,
        "--allow-shared-audio",
        text="accept audio that is trained on and tested on; else an error",
    )
    parser.add_argument("--output", help="JSON file for the report")


def _overlap(args: argparse.Namespace) -> None:
    overlaps = overlap.find_overlaps([*args.train, *args.valid, *args.test])
    for found in overlaps:
        print(found.sentence())
    if args.output:
        write_json(args.output, overlap.record(overlaps, args.allow_shared_audio))
    if not args.allow_shared_audio:
        overlap.refuse_shared_audio(overlaps, args.train, args.test)


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", nargs="?", default="/dev/stdin", help="default: standard input")


def _utt2spk_to_spk2utt(args: argparse.Namespace) -> None:
    _print_table(kaldi.utt2spk_to_spk2utt(kaldi.read_table(args.table)))


def _spk2utt_to_utt2spk(args: argparse.Namespace) -> None:
    _print_table(kaldi.spk2utt_to_utt2spk(kaldi.read_table(args.table)))


def _print_table(table: dict[str, str]) -> None:
    _print_lines(f"{key} {value}\n".encode() for key, value in table.items())


def _print_lines(lines: Iterable[bytes]) -> None:
    # Where the reader, say `head`, has enough: end like any filter, without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()


def _split_scp_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scp")
    parser.add_argument("parts", nargs="+", help="files to write")


def _split_scp(args: argparse.Namespace) -> None:
    lines = _read_lines(args.scp)
    for path, part in zip(args.parts, kaldi.split_lines(lines, len(args.parts)), strict=True):
        with write_aside(path) as aside:
            aside.write_bytes(b"".join(part))


def _filter_scp_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exclude", action="store_true", help="keep the lines not in the list")
    parser.add_argument(
        "-f", dest="field", type=cli.integer(1), default=1, help="word compared, from 1"
    )
    parser.add_argument("ids", help="list; the first word of each line counts")
    parser.add_argument("scp", nargs="?", default="/dev/stdin", help="default: standard input")


def _filter_scp(args: argparse.Namespace) -> None:
    ids, lines = _read_lines(args.ids), _read_lines(args.scp)
    _print_lines(kaldi.filter_lines(lines, ids, exclude=args.exclude, field=args.field))


def _read_lines(path: str) -> list[bytes]:
    try:
        data = Path("/dev/stdin" if path == "-" else path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    # A byte order mark would make another word of the first one.
    data = data.removeprefix(codecs.BOM_UTF8)
    kaldi.check_line_ends(path, data.decode("latin1"))
    return [line + b"\n" for line in data.removesuffix(b"\n").split(b"\n")] if data else []


_COMMANDS = {
    "validate": (_validate_arguments, _validate, "check a data directory"),
    "fix": (_fix_arguments, _fix, "sort, squeeze blanks, keep what all files have"),
    "copy": (_copy_arguments, _copy, "copy, optionally with new names"),
    "subset": (_subset_arguments, _subset, "take listed or some utterances"),
    "combine": (_combine_arguments, _combine, "merge data directories"),
    "split": (_split_arguments, _split, "split for parallel jobs"),
    "overlap": (_overlap_arguments, _overlap, "what sets have in common"),
    "utt2spk_to_spk2utt": (_table_arguments, _utt2spk_to_spk2utt, "invert utt2spk"),
    "spk2utt_to_utt2spk": (_table_arguments, _spk2utt_to_utt2spk, "invert spk2utt"),
    "split_scp": (_split_scp_arguments, _split_scp, "split a list into equal parts"),
    "filter_scp": (_filter_scp_arguments, _filter_scp, "keep the lines whose key is listed"),
}

if __name__ == "__main__":
    cli.run(main)
