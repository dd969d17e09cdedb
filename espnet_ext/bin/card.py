"""Make robustness cards of attacked models."""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "card.json (schema: espnet_ext/report/card.schema.json) and card.md, to paste "
        "into a model card, for each model in results of asr_report, asr_attack and cm_report.",
        example="espnet-ext card exp/my_attack --output_dir exp/my_attack/cards",
    )
    add = parser.add_argument
    add("experiments", nargs="+", metavar="EXP", help="directory with a results.json")
    add("--output_dir", required=True, help="<model>/card.json and <model>/card.md")
    return parser


def main() -> None:
    """Write the cards, and say where."""
    args = cli.parse(get_parser())
    from espnet_ext.report.reports import write_cards

    for directory in write_cards(args.experiments, args.output_dir):
        print(f"{directory}/card.md")


if __name__ == "__main__":
    cli.run(main)
