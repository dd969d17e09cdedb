"""Check what a main script hands to the commands of later stages, without running them.

python -m espnet_ext.bin.check_options --for --attack_args asr_attack --config conf/attack.yaml
"""

import argparse
import difflib
import importlib
import itertools
import re
import shlex
from typing import NoReturn

from espnet_ext.attack.settings import AttackSettings
from espnet_ext.bin import cli
from espnet_ext.bin.training import TRAININGS
from espnet_ext.errors import InputError

ATTACKED = {"asr_attack": "asr", "cm_attack": "cm", "cm_lnsr": "cm", "spk_attack": "spk"}
"""Kind of model that a command attacks."""


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--ngpu", type=cli.integer(), default=0, help="GPUs that PyTorch must see")
    add(
        "--for",
        dest="commands",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="SOURCE COMMAND OPTION",
        help="a command and its options, and what messages name: the options of the main script "
        "that they come from; more of them, each after --for",
    )
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Check one command after the other.

    Raises:
        InputError: a command would refuse an option or its value, a key of its YAML file or the
            value of one; or there are fewer GPUs.
    """
    parser = get_parser()
    args = parser.parse_args(cmd)
    if not args.ngpu and not args.commands:
        parser.error("nothing to check: give --for or --ngpu")
    if args.ngpu:
        cli.check_gpus(args.ngpu)
    # The words between each two --for.
    bounds = [-1, *(i for i, word in enumerate(args.commands) if word == "--for")]
    bounds.append(len(args.commands))
    groups = [args.commands[a + 1 : b] for a, b in itertools.pairwise(bounds) if a + 1 < b]
    for source, command, *options in groups:
        try:
            parse_options(command, options)
        except InputError as error:
            given = shlex.join([command, *options])
            raise InputError(f"{error}\nCorrect {source}. This would run: {given}") from None


def parse_options(command: str, options: list[str]) -> None:
    """Parse the options of a command as it will; check the YAML files that they name.

    Raises:
        InputError: the command would refuse them.
    """
    training = TRAININGS.get(command)
    if training:
        parser = training.task.get_parser()
    else:
        parser = importlib.import_module(f"espnet_ext.bin.{command}").get_parser()

    def _refuse(message: str) -> NoReturn:
        unknown = re.split("[ =]", message.removeprefix("unrecognized arguments: "))[0]
        # argparse gives messages only, and no list of the words that it has not understood.
        close = difflib.get_close_matches(unknown, parser._option_string_actions, n=1)
        hint = f"; did you mean {close[0]}?" if unknown.startswith("--") and close else ""
        raise InputError(message + hint)

    # argparse would print the usage, hundreds of lines of ESPnet's training.
    parser.error = _refuse
    if training:
        # Only here, for this imports ESPnet.
        from espnet_ext.tasks.configuration import check_training, parse_training

        check_training(training.task, parse_training(parser, options))
        return
    for action in parser._actions:
        # The script gives these.
        action.required = False
    args = parser.parse_args(options)
    if command in ATTACKED:
        AttackSettings.read(args.config, ATTACKED[command], args.set)


if __name__ == "__main__":
    cli.run(main)
