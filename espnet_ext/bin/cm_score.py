"""Metrics of a countermeasure from its score file.

Example:
    python -m espnet_ext.bin.cm_score --scores exp/senet/eval/scores.txt \
        --dev_scores exp/senet/dev/scores.txt --data_dir data/eval \
        --asv_scores data/eval/asv_scores
"""

import argparse
from pathlib import Path
from typing import Any

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--scores", nargs="+", required=True, help="lines 'utt attack key score', in parts")
    add("--data_dir", help="check that exactly its trials are scored, and draw its speakers")
    add("--asv_scores", help="lines 'CM_KEY ASV_KEY SCORE', for the t-DCF")
    text = "the trials are a part of those that the ASV scores belong to"
    cli.add_switch(parser, "--part", text=text)
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--dev_scores", nargs="+", help="clean ones, whose EER threshold is used")
    point.add_argument(
        "--threshold", type=cli.real(), help="scores above it are answered 'bona fide'"
    )
    add("--output", help="results.json beside the first score file where not given")
    return parser


def main() -> None:
    """Read, check, measure, write and show."""
    args = get_parser().parse_args()
    from espnet_ext.data.files import write_json
    from espnet_ext.report.countermeasure_scores import measure_scores, summary
    from espnet_ext.report.environment import environment

    output = Path(args.output or Path(args.scores[0]).parent / "results.json")
    results = measure_scores(**read_inputs(args))
    write_json(output, {**results, "environment": environment("cpu")})
    print(f"{summary(results)}\n\n{output}")


def read_inputs(args: argparse.Namespace) -> dict[str, Any]:
    """Read and check all files of the command line, as arguments of `measure_scores`.

    Raises:
        InputError: see `espnet_ext.cm.scores`.
    """
    from espnet_ext.cm.scores import check_asv_attacks, check_trials, read_asv_scores, read_scores
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.report.countermeasure_scores import Threshold, threshold_of

    scores = read_scores(*args.scores)
    inputs: dict[str, Any] = {"scores": scores}
    if args.data_dir:
        data = Path(args.data_dir)
        attacks = data / "utt2attack"
        # Without spoofs there is nothing to list there.
        utt2attack = read_table(attacks) if attacks.exists() else {}
        check_trials(scores, read_table(data / "utt2label"), utt2attack)
        inputs["utt2spk"] = read_table(data / "utt2spk")
    if args.asv_scores:
        asv = read_asv_scores(args.asv_scores)
        check_asv_attacks(asv, [row.attack for row in scores], args.asv_scores, part=args.part)
        inputs["asv"] = asv
    if args.dev_scores:
        inputs["threshold"] = threshold_of(read_scores(*args.dev_scores), args.dev_scores[0])
    elif args.threshold is not None:
        inputs["threshold"] = Threshold(args.threshold, "given")
    return inputs


if __name__ == "__main__":
    cli.run(main)
