"""Metrics of a countermeasure from its score file.

Example:
    python -m espnet_ext.bin.cm_score --scores exp/senet/eval/scores.txt \
        --dev_scores exp/senet/dev/scores.txt --data_dir data/eval \
        --asv_scores data/eval/asv_scores
"""

import argparse
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        __doc__, example="espnet-ext score --scores exp/lcnn/score/eval.txt --data_dir dump/eval"
    )
    add = parser.add_argument
    add("--scores", nargs="+", required=True, help="lines 'utt attack key score', in parts")
    add("--data_dir", help="check that exactly its trials are scored, and draw its speakers")
    add("--asv_scores", help="lines 'CM_KEY ASV_KEY SCORE', for the t-DCF")
    text = "the trials are a part of those that the ASV scores belong to"
    cli.add_switch(parser, "--part", text=text)
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--dev_scores", nargs="+", help="clean scores whose EER threshold is used")
    point.add_argument(
        "--threshold", type=cli.real(), help="scores above it are answered 'bona fide'"
    )
    add("--output", help="default: results.json beside the first score file")
    return parser


def main() -> None:
    """Read, check, measure, write and show."""
    args = get_parser().parse_args()
    from espnet_ext.cm.scores import check_asv_attacks, check_trials, read_asv_scores, read_scores
    from espnet_ext.data.files import write_json
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.report.countermeasure_scores import (
        Threshold,
        measure_scores,
        summary,
        threshold_of,
    )
    from espnet_ext.report.environment import environment

    scores = read_scores(*args.scores)
    utt2spk = asv = threshold = None
    if args.data_dir:
        data = Path(args.data_dir)
        attacks = data / "utt2attack"
        # Without spoofs there is nothing to list there.
        utt2attack = read_table(attacks) if attacks.exists() else {}
        # Rates over a part of the trials look like those of all, so this is an error and no
        # warning.
        check_trials(scores, read_table(data / "utt2label"), utt2attack)
        utt2spk = read_table(data / "utt2spk")
    if args.asv_scores:
        asv = read_asv_scores(args.asv_scores)
        check_asv_attacks(asv, [row.attack for row in scores], args.asv_scores, part=args.part)
    if args.dev_scores:
        threshold = threshold_of(read_scores(*args.dev_scores), args.dev_scores[0])
    elif args.threshold is not None:
        threshold = Threshold(args.threshold, "given")
    results = measure_scores(scores, asv=asv, threshold=threshold, utt2spk=utt2spk)
    output = Path(args.output or Path(args.scores[0]).parent / "results.json")
    write_json(output, {**results, "environment": environment("cpu")})
    print(f"{summary(results)}\n\n{output}")


if __name__ == "__main__":
    cli.run(main)
