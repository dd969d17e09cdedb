"""Make the tables and figures of a sweep."""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser("results.json, RESULTS.md and figures from the logs of a sweep.")
    add = parser.add_argument
    add(
        "--conditions",
        required=True,
        nargs="+",
        help="lists that run.sh writes, one condition a line; the baseline is in the first, and "
        "models that differ in the training seed alone are pooled",
    )
    add("--data_dir", required=True, help="the test set: text, utt2spk, utt2<head>")
    add(
        "--interval_unit",
        default="utterance",
        choices=("utterance", "speaker"),
        help="what the bootstrap draws",
    )
    add("--overlap", help="what the sets have in common, JSON that stage 2 writes; if it is there")
    add("--output_dir", required=True, help="results.json, RESULTS.md, figure1.png, training.json")
    return parser


def main() -> None:
    """Collect, write, and say where."""
    args = cli.parse(get_parser())
    from espnet_ext.data.files import read_json, write_json
    from espnet_ext.report.conditions import read_conditions
    from espnet_ext.report.environment import environment
    from espnet_ext.report.figures import figure_1
    from espnet_ext.report.markdown import write_results
    from espnet_ext.report.overlap import read_overlap
    from espnet_ext.report.robustness import make_results
    from espnet_ext.report.training import write_training

    conditions = [c for path in args.conditions for c in read_conditions(path)]
    output = Path(args.output_dir)
    by_speaker = args.interval_unit == "speaker"
    made = make_results(conditions, args.data_dir, environment("cpu"), by_speaker)
    write_json(output / "results.json", made | read_overlap(args.overlap))
    write_training([condition.model_dir for condition in conditions], output)
    results = read_json(output / "results.json")
    figure_1(results, output / "figure1.png")
    write_results(results, output / "RESULTS.md", "figure1.png")
    print(f"{output}/RESULTS.md")


if __name__ == "__main__":
    cli.run(main)
