"""Check a list of a recipe and print its lines for the shell, columns separated by tabs.

python -m espnet_ext.bin.read_list sweep conf/sweep.yaml
python -m espnet_ext.bin.read_list models conf/models.yaml
"""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, example="espnet-ext list sweep conf/sweep.yaml --heads accent")
    add = parser.add_argument
    add("kind", choices=("sweep", "models"), help="conf/sweep.yaml or conf/models.yaml of a recipe")
    add("list", help="the file")
    add("--heads", default="", help="classification heads; without one lambda_A must be 1")
    return parser


def main() -> None:
    """Print the list without comments; exit with 1 where something is wrong."""
    args = get_parser().parse_args()
    from espnet_ext.data.recipe_lists import read_model_list, read_sweep

    if args.kind == "sweep":
        lines: list[tuple[str, ...]] = [*read_sweep(args.list, heads=bool(args.heads.split()))]
    else:
        lines = [*read_model_list(args.list)]
    for line in lines:
        # Tabs, for names and options may have blanks and the shell reads column by column.
        print("\t".join(line))


if __name__ == "__main__":
    cli.run(main)
