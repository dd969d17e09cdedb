"""Check the options that a main script hands to a command of a later stage, without running it.

python -m espnet_ext.bin.check_options asr_attack --set eps=0.1
"""

import argparse
import importlib

from espnet_ext.bin import cli


def main(cmd: list[str] | None = None) -> None:
    """Parse the options as the command will; exit with 2 where it would refuse one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("asr_attack", "cm_attack", "cm_lnsr", "format_data"))
    parser.add_argument("options", nargs=argparse.REMAINDER, help="its options")
    args = parser.parse_args(cmd)
    checked = importlib.import_module(f"espnet_ext.bin.{args.command}").get_parser()
    for action in checked._actions:
        # The script gives these.
        action.required = False
    checked.prog = args.command
    checked.parse_args(args.options)


if __name__ == "__main__":
    cli.run(main)
