"""Work on Kaldi data directories and tables; the scripts in `utils/` call this.

Sub-commands take the arguments of the Kaldi scripts they stand for. In options, `_` and
`-` are the same.
"""

import argparse
import codecs
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.data import check, kaldi, operations, overlap
from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.files import write_aside, write_json
from espnet_ext.errors import InputError

# Options whose value may begin with a dash, see `main`.
_AFFIXES = ("--utt-prefix", "--utt-suffix", "--spk-prefix", "--spk-suffix")


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = cli.parser(__doc__, example="espnet-ext data validate --no-feats data/train")
    commands = parser.add_subparsers(dest="command", required=True)

    def new(name: str, text: str, *positionals: str) -> argparse.ArgumentParser:
        """A sub-command; names of one argument each, with `...` after a name of several."""
        command = commands.add_parser(name, help=text, description=text)
        for positional in positionals:
            many = "+" if positional.endswith("...") else None
            command.add_argument(positional.removesuffix("..."), nargs=many)
        return command

    add_directories(new)
    add_tables(new)
    return parser


def add_directories(new: Callable[..., argparse.ArgumentParser]) -> None:
    """Sub-commands on data directories."""
    validate = new("validate", "check a data directory", "directory")
    fix = new("fix", "sort, squeeze blanks, keep what all files have", "directory")
    copy = new("copy", "copy, optionally with new names", "source", "destination")
    subset = new("subset", "take listed or some utterances", "source")
    combine = new("combine", "merge data directories", "destination", "sources...")
    split = new("split", "split for parallel jobs", "directory")
    for command in (validate, fix, copy, subset, combine, split):
        cli.add_characters(command)
    for option in ("--no-text", "--no-wav"):
        validate.add_argument(option, action="store_true")
    for option in ("--no-feats", "--no-spk-sort", "--non-print"):
        validate.add_argument(option, action="store_true", help="always so; for Kaldi's callers")
    text = "drop even a whole class or more than a tenth; else an error"
    cli.add_switch(fix, "--allow-loss", text=text)
    text = "delete invisible characters, make every blank a plain one; else an error"
    cli.add_switch(fix, "--clean", text=text)
    text = "bring all ids, transcripts and labels to this Unicode form"
    fix.add_argument("--normalize", choices=("NFC", "NFD", "NFKC", "NFKD"), help=text)
    for option in _AFFIXES:
        copy.add_argument(option, default="")
    copy.add_argument("--validate-opts", help="ignored; for Kaldi's callers")
    which = subset.add_mutually_exclusive_group()
    which.add_argument("--utt-list", metavar="FILE", help="utterances, first word of each line")
    which.add_argument("--first", action="store_true", help="the first N, not N spread evenly")
    text = "accept that more than a tenth of the list is not there; else an error"
    cli.add_switch(subset, "--allow-loss", text=text)
    subset.add_argument("number", nargs="?", type=cli.integer(1), metavar="N")
    subset.add_argument("destination")
    combine.add_argument("--fill", help="value where a source lacks a utt2* or spk2* file")
    for option in ("--extra-files", "--skip-fix"):
        combine.add_argument(option, help="ignored; for Kaldi's callers")
    split.add_argument("--per-utt", action="store_true", help="do not keep speakers together")
    split.add_argument("number", type=cli.integer(1))


def add_tables(new: Callable[..., argparse.ArgumentParser]) -> None:
    """Sub-commands on tables, and on what sets have in common."""
    overlap = new("overlap", "what sets have in common")
    for name, text in (
        ("train", "sets that are trained on"),
        ("valid", "sets that choose an epoch or a threshold"),
        ("test", "sets that results are reported on"),
    ):
        sets = overlap.add_argument(f"--{name}", nargs="+", default=[], action="extend", help=text)
        sets.metavar = "DIR"
    text = "accept audio that is trained on and tested on; else an error"
    cli.add_switch(overlap, "--allow-shared-audio", text=text)
    overlap.add_argument("--output", help="JSON file for the report")
    new("split_scp", "split a list into equal parts", "scp", "parts...")
    filter_scp = new("filter_scp", "keep the lines whose key is listed", "ids")
    filter_scp.add_argument("--exclude", action="store_true", help="keep the lines not in the list")
    text = "word compared, from 1"
    filter_scp.add_argument("-f", dest="field", type=cli.integer(1), default=1, help=text)
    invert = (
        new("utt2spk_to_spk2utt", "invert utt2spk"),
        new("spk2utt_to_utt2spk", "invert spk2utt"),
    )
    for command, name in ((filter_scp, "scp"), *((command, "table") for command in invert)):
        text = "default: standard input"
        command.add_argument(name, nargs="?", default="/dev/stdin", help=text)


def main(cmd: list[str] | None = None) -> None:
    """Run a sub-command."""
    # `--utt-suffix -noise` is joined with `=`, for argparse takes `-noise` for an option.
    words: list[str] = []
    rest = iter(sys.argv[1:] if cmd is None else cmd)
    for word in rest:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            name = name.replace("_", "-")
            if name in _AFFIXES and not equals and (following := next(rest, None)) is not None:
                equals, value = "=", following
            word = name + equals + value
        words.append(word)
    args = cli.parse(get_parser(), words)
    tables = ("overlap", "split_scp", "filter_scp", "utt2spk_to_spk2utt", "spk2utt_to_utt2spk")
    (run_on_tables if args.command in tables else run_on_directory)(args)


def run_on_directory(args: argparse.Namespace) -> None:
    """Run a sub-command of `add_directories`."""
    # `fix` alone may change characters; the others refuse what they do not allow.
    rules = CharacterRules(allow_invisible=args.allow_invisible)
    match args.command:
        case "validate":
            text, wav = not args.no_text, not args.no_wav
            check.validate(args.directory, text=text, wav=wav, partial=args.partial, rules=rules)
            print(f"{args.directory}: valid data directory")
        case "fix":
            rules = CharacterRules(args.allow_invisible, args.clean, args.normalize)
            kept, dropped = operations.fix(
                args.directory, allow_loss=args.allow_loss, partial=args.partial, rules=rules
            )
            print(f"{args.directory}: kept {kept} utterances, dropped {dropped}")
        case "copy":
            names = [option.removeprefix("--").replace("-", "_") for option in _AFFIXES]
            affixes = {name: getattr(args, name) for name in names}
            operations.copy(args.source, args.destination, rules=rules, **affixes)
        case "subset":
            names, loss = utterances_of_subset(args), args.allow_loss
            operations.subset(args.source, args.destination, names, allow_loss=loss, rules=rules)
        case "combine":
            operations.combine(args.destination, args.sources, fill=args.fill, rules=rules)
        case "split":
            operations.split_directory(
                args.directory, args.number, per_utt=args.per_utt, rules=rules
            )


def utterances_of_subset(args: argparse.Namespace) -> list[str]:
    """The utterances that a subset is to have: listed, the first N, or N spread evenly.

    Raises:
        InputError: neither a list nor a number is given, or there are fewer.
    """
    if (args.utt_list is None) == (args.number is None):
        raise InputError("give either --utt-list <file> <source> <destination> or a number N")
    if args.utt_list is not None:
        # Like Kaldi's scripts: the first word counts, whatever follows it.
        return list(kaldi.read_table(args.utt_list, allow_empty=True, strict=False))
    # Sorted, so that the same utterances are taken whatever the order of the file.
    known, number = sorted(kaldi.read_table(Path(args.source, "utt2spk"))), args.number
    if number > len(known):
        raise InputError(f"{args.source}: has {len(known)} utterances, not {number}")
    # The list is sorted by speaker: the first N would be of a few speakers.
    spread = [known[i * len(known) // number] for i in range(number)]
    return known[:number] if args.first else spread


def run_on_tables(args: argparse.Namespace) -> None:
    """Run a sub-command of `add_tables`."""
    match args.command:
        case "overlap":
            overlaps = overlap.find_overlaps([*args.train, *args.valid, *args.test])
            for found in overlaps:
                print(found.sentence())
            if args.output:
                write_json(args.output, overlap.record(overlaps, args.allow_shared_audio))
            if not args.allow_shared_audio:
                overlap.refuse_shared_audio(overlaps, args.train, args.test)
        case "split_scp":
            parts = kaldi.split_lines(_read_lines(args.scp), len(args.parts))
            for path, part in zip(args.parts, parts, strict=True):
                with write_aside(path) as aside:
                    # Bytes, not text: these commands give lines back exactly as they are.
                    aside.write_bytes(b"".join(part))
        case "filter_scp":
            ids, lines = _read_lines(args.ids), _read_lines(args.scp)
            _print_lines(kaldi.filter_lines(lines, ids, exclude=args.exclude, field=args.field))
        case _:
            table, to_spk2utt = kaldi.read_table(args.table), args.command == "utt2spk_to_spk2utt"
            invert = kaldi.utt2spk_to_spk2utt if to_spk2utt else kaldi.spk2utt_to_utt2spk
            _print_lines(f"{key} {value}\n".encode() for key, value in invert(table).items())


def _print_lines(lines: Iterable[bytes]) -> None:
    # Where the reader, say `head`, has enough: end like any filter, without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()


def _read_lines(path: str) -> list[bytes]:
    try:
        data = Path("/dev/stdin" if path == "-" else path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    # A byte order mark would make another word of the first one.
    data = data.removeprefix(codecs.BOM_UTF8)
    # Latin-1 reads any bytes, and only line ends are looked at.
    kaldi.check_line_ends(path, data.decode("latin1"))
    return [line + b"\n" for line in data.removesuffix(b"\n").split(b"\n")] if data else []


if __name__ == "__main__":
    cli.run(main)
