"""Score a data directory with a countermeasure."""

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.bin import cli

if TYPE_CHECKING:
    from espnet_ext.cm.model import CountermeasureModel


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(
        "Score utterances with a countermeasure: lines of 'utt attack key score'.",
        example=(
            "espnet-ext infer --model exp/lcnn --data_dir dump/eval --output "
            "exp/lcnn/score/eval.txt"
        ),
    )
    add = parser.add_argument
    cli.CM_MODEL.add(parser, "the countermeasure")
    add("--data_dir", required=True, nargs="+", help="wav.scp, utt2label, utt2attack")
    add("--output", required=True, nargs="+", help="one score file for each, sorted by utterance")
    cli.add_batch_size(parser, 16)
    cli.add_shard(parser, "score")
    cli.add_computing(parser)
    return parser


def main() -> None:
    """Score a part of each data directory."""
    parser = get_parser()
    args = parser.parse_args()
    if len(args.data_dir) != len(args.output):
        parser.error("give as many --output as --data_dir")
    cli.log_to_stderr()
    files = cli.CM_MODEL.find(args)
    from espnet_ext.tasks.loading import CM_KIND

    model = cli.open_model(files, args, CM_KIND)
    made_from = cli.model_digests(files, "checkpoint")
    for data_dir, output in zip(args.data_dir, args.output, strict=True):
        score_directory(model, data_dir, Path(output), args.shard, args.batch_size, made_from)


def score_directory(
    model: "CountermeasureModel",
    data_dir: str,
    output: Path,
    shard: tuple[int, int],
    batch_size: int,
    model_files: dict[str, dict[str, str]],
) -> None:
    """Score a part of a data directory, and put the parts together once all are there.

    Beside each of several parts, a file says which model and which audio it is of, and which scores
    it has: a part of an earlier run is not mixed with those of this one.
    """
    from espnet_ext.cm.scores import write_score_file
    from espnet_ext.cm.scoring import (
        audio_lengths,
        like_lengths,
        read_keys,
        score_batches,
        trial_scores,
    )
    from espnet_ext.data.files import content_of, write_json
    from espnet_ext.data.kaldi import read_table

    part, parts = shard
    files = [part_file(output, number, parts) for number in range(1, parts + 1)]
    trials = read_keys(data_dir)
    paths = read_table(Path(data_dir) / "wav.scp")
    lengths = audio_lengths(paths, model.sample_rate, model.window)
    batches = like_lengths(lengths, batch_size)
    # What an earlier run has left must not be mixed with this one, which is not refused any more.
    for stale in (
        output,
        files[part - 1],
        *([files[part - 1].with_suffix(".json")] if parts > 1 else ()),
    ):
        stale.unlink(missing_ok=True)
    scores: dict[str, float] = {}
    # Batches are in the order of length, so every n-th one gives each job long and short ones.
    for number, found in enumerate(score_batches(model, paths, batches[part - 1 :: parts]), 1):
        scores |= found
        if number % 100 == 0:
            logging.info("%d of %d batches", number, len(batches))
    write_score_file(files[part - 1], trial_scores(scores, trials))
    logging.info("%s: %d utterances", files[part - 1], len(scores))
    if parts == 1:
        return
    # Size and time of each file: digests would read all of the audio a second time.
    states = {name: Path(path).stat() for name, path in paths.items()}
    made_from = {
        "model": content_of(model_files),
        "batches": batches,
        "trials": trials,
        "audio": {name: [s.st_size, s.st_mtime_ns] for name, s in states.items()},
    }
    # One digest for all parts: they fit together only if all of this is the same.
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    about = {"made_from": digest, **cli.digests(scores=files[part - 1])}
    write_json(files[part - 1].with_suffix(".json"), about)
    join_parts(files, output, digest)


def join_parts(files: list[Path], output: Path, made_from: str) -> None:
    """Put parts together if all are there, whole, and of the same model and audio.

    Args:
        files: of the parts; beside each, a JSON file says what it is made from.
        output: file of all scores.
        made_from: digest of the model and the audio.
    """
    from espnet_ext.cm.scores import read_scores, write_score_file
    from espnet_ext.data.files import read_record

    # Every part comes through here and only the last one finds all others: nobody waits.
    for file in files:
        record = file.with_suffix(".json")  # says what a part is made from
        about = read_record(record) if record.is_file() else {}
        if not file.is_file() or not about:
            logging.info("%s is not there yet; the last part puts all together", file)
            return
        if about != {"made_from": made_from, **cli.digests(scores=file)}:
            logging.warning(
                "%s is of another model or audio, or was changed after it was written; score that "
                "part again to get %s",
                file,
                output,
            )
            return
    # With more parts than batches some parts have no utterance.
    filled = [file for file in files if file.stat().st_size]
    write_score_file(output, read_scores(*filled))
    logging.info("%s: all %d parts together", output, len(files))


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
