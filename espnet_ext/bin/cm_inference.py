"""Score a data directory with a countermeasure."""

import argparse
import logging
from pathlib import Path

from espnet_ext.bin import cli


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Score utterances with a countermeasure: lines of 'utt attack key score'.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--cm_train_config", required=True, help="config.yaml saved in training")
    add("--cm_model_file", required=True, help="weights, e.g. valid.eer.best.pth")
    add("--data_dir", required=True, help="wav.scp, utt2label, utt2attack")
    add("--output", required=True, help="the score file, sorted by utterance")
    add("--batch_size", type=int, default=16, help="utterances in a batch")
    add("--shard", type=cli.shard, default=(1, 1), metavar="J/N", help="score the J-th of N parts")
    add("--ngpu", type=int, default=0, help="1 to compute on a GPU")
    add(
        "--allow_pickle", type=cli.boolean, default=False, help="read a checkpoint that is a pickle"
    )
    return parser


def main() -> None:
    """Score a part, and put the parts together once all are there."""
    args = get_parser().parse_args()
    cli.log_to_stderr()
    from espnet_ext.cm.scores import read_scores, write_scores
    from espnet_ext.cm.scoring import (
        audio_lengths,
        plan_batches,
        read_trials,
        score_batches,
        trial_scores,
    )
    from espnet_ext.data.kaldi import read_table
    from espnet_ext.tasks.cm_loading import load_countermeasure

    output, (part, parts) = Path(args.output), args.shard
    files = [part_file(output, number, parts) for number in range(1, parts + 1)]
    # What an earlier run has left must not be mixed with this one.
    for stale in (output, files[part - 1]):
        stale.unlink(missing_ok=True)
    trials = read_trials(args.data_dir)
    paths = read_table(Path(args.data_dir) / "wav.scp")
    model = load_countermeasure(
        args.cm_train_config,
        args.cm_model_file,
        device=cli.device(args.ngpu),
        allow_pickle=args.allow_pickle,
    )
    batches = plan_batches(audio_lengths(paths, model.sample_rate), args.batch_size)
    batches = batches[part - 1 :: parts]
    scores: dict[str, float] = {}
    for number, found in enumerate(score_batches(model, paths, batches), 1):
        scores |= found
        if number % 100 == 0:
            logging.info("%d of %d batches", number, len(batches))
    write_scores(files[part - 1], trial_scores(scores, trials))
    logging.info("%s: %d utterances", files[part - 1], len(scores))
    if parts > 1 and all(file.is_file() for file in files):
        filled = [file for file in files if file.stat().st_size]
        write_scores(output, read_scores(*filled))
        logging.info("%s: all %d parts together", output, parts)


def part_file(output: Path, part: int, parts: int) -> Path:
    """Where the scores of a part go: beside `output`; `output` itself where there is one part.

    Example:
        >>> part_file(Path("eval/scores.txt"), 2, 3).as_posix()
        'eval/scores.2of3.txt'
    """
    if parts == 1:
        return output
    return output.with_name(f"{output.stem}.{part}of{parts}{output.suffix}")


if __name__ == "__main__":
    cli.run(main)
