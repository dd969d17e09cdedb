"""Make robustness cards of attacked models."""

import argparse

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Write card.json (schema: espnet_ext/report/card.schema.json) and card.md, a model card "
        "for Hugging Face, for each model in results of asr_report, asr_attack and cm_report.",
        example="espnet-ext card exp/my_attack --output_dir exp/my_attack/cards",
    )
    add = parser.add_argument
    add("experiments", nargs="+", metavar="EXP", help="directory with a results.json")
    add("--output_dir", required=True, help="<model>/card.json and <model>/card.md")
    text = "licence of the models, by its name on Hugging Face, e.g. apache-2.0"
    add("--license", default="unknown", help=text)
    text = "name of the test set for the front matter, e.g. 'FSDD'"
    add("--dataset", default="test set of the recipe", help=text)
    return parser


def main() -> None:
    """Write the cards, and say where."""
    args = cli.parse(get_parser())
    from espnet_ext.report.reports import write_cards

    for directory in write_cards(args.experiments, args.output_dir, args.license, args.dataset):
        print(f"{directory}/card.md")


if __name__ == "__main__":
    cli.run(main)
