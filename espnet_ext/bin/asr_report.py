"""Make the tables and figures of a sweep."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "results.json, RESULTS.md and figures from the logs of a sweep.",
        example=(
            "espnet-ext results --conditions exp/conditions_attack_seed0.tsv --data_dir "
            "dump/test --output_dir exp/report"
        ),
    )
    add = parser.add_argument
    add(
        "--conditions",
        required=True,
        nargs="+",
        help="lists that run.sh writes, one condition per line; the baseline is in the first, and "
        "models that differ in the training seed alone are pooled",
    )
    add("--data_dir", required=True, help="the test set: text, utt2spk, utt2<head>")
    add(
        "--interval_unit",
        default="utterance",
        choices=("utterance", "speaker"),
        help="unit that the bootstrap resamples",
    )
    add("--layout", help="YAML of tables and curves, e.g. conf/report.yaml of the recipe")
    add("--overlap", help="what the sets have in common, JSON that stage 2 writes; if it is there")
    add("--output_dir", required=True, help="results.json, RESULTS.md, training.json, pictures")
    return parser


def main() -> None:
    """Collect, write, and say where."""
    args = cli.parse(get_parser())
    from espnet_ext.report.conditions import read_conditions
    from espnet_ext.report.environment import environment
    from espnet_ext.report.layout import SweepLayout, read_layout
    from espnet_ext.report.recognition import make_results
    from espnet_ext.report.reports import read_overlap, write_report
    from espnet_ext.report.training import write_training

    conditions = [c for path in args.conditions for c in read_conditions(path)]
    output = Path(args.output_dir)
    by_speaker = args.interval_unit == "speaker"
    layout = read_layout(args.layout, SweepLayout)
    made = make_results(conditions, args.data_dir, environment("cpu"), by_speaker, layout)
    write_training([condition.model_dir for condition in conditions], output)
    write_report({**made, **read_overlap(args.overlap)}, output)
    print(f"{output}/RESULTS.md")


if __name__ == "__main__":
    cli.run(main)
