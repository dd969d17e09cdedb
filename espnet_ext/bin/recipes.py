"""Write the recipes (egs2/) into a directory, to run and change there."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, example="espnet-ext recipes .")
    parser.add_argument("directory", help="where egs2/ is written; refused where there is one")
    return parser


def main() -> None:
    """Write them, and say how to go on."""
    from espnet_ext.data.recipe_tree import write_recipes

    made = write_recipes(Path(get_parser().parse_args().directory))
    print(f"{made}: the recipes; {made}/README.md lists them. To begin with the smallest:")
    print(f"    cd {made}/mini/mtl_asr1 && ./run.sh")


if __name__ == "__main__":
    cli.run(main)
