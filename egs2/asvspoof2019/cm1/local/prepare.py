#!/usr/bin/env python3
"""ASVspoof 2019 LA, or any ASVspoof protocol with its audio, as Kaldi data directories.

The scores of speaker verification, where the corpus has them, become `asv_scores` in the
data directory, checked against the trials.
"""

import argparse
import logging
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.cm.scores import check_asv_attacks, check_asv_protocol, read_asv_scores
from espnet_ext.data.asvspoof import (
    LAYOUTS,
    PARTITIONS_2019,
    Partition,
    Trial,
    audio_paths,
    check_classes,
    check_disjoint,
    count_keys,
    describe_trials,
    la_2019,
    read_asv_protocol,
    read_protocol,
    trial_directory,
)
from espnet_ext.errors import InputError

TRAINING = ("train", "dev")


def asv_scores(root: Path, partition: Partition, trials: list[Trial]) -> Path | None:
    """The scores of speaker verification of a partition, checked; None without them.

    Raises:
        InputError: they are not of these trials.
    """
    if partition.asv_scores is None or partition.asv_protocol is None:
        return None
    path, protocol = root / partition.asv_scores, root / partition.asv_protocol
    if not path.is_file():
        logging.warning("%s: no such file; there will be no t-DCF", path)
        return None
    scores = read_asv_scores(path)
    check_asv_attacks(scores, [trial.attack for trial in trials], path)
    if protocol.is_file():
        check_asv_protocol(scores, read_asv_protocol(protocol), path)
    return path


def prepare_2019(corpus: Path, output: Path) -> None:
    """Write train, dev and eval; all is read and checked before the first is written.

    Raises:
        InputError: see `espnet_ext.data.asvspoof` and `espnet_ext.cm.scores`.
    """
    root = la_2019(corpus)
    trials = {n: read_protocol(root / p.protocol, "2019_la") for n, p in PARTITIONS_2019.items()}
    for name in TRAINING:
        check_classes(trials[name], root / PARTITIONS_2019[name].protocol)
    check_disjoint(trials)
    made = {}
    for name, partition in PARTITIONS_2019.items():
        audio = audio_paths(trials[name], root / partition.audio)
        scores = asv_scores(root, partition, trials[name])
        made[name] = trial_directory(
            trials[name], audio, {"asv_scores": scores} if scores else None
        )
    for name, directory in made.items():
        directory.write(output / name)
        print(f"{output / name}: {describe_trials(trials[name], PARTITIONS_2019[name].official)}")


def prepare_protocol(args: argparse.Namespace) -> None:
    """Write one data directory for evaluation.

    Raises:
        InputError: see `espnet_ext.data.asvspoof`, or no trial is of the wanted subset.
    """
    trials = read_protocol(args.protocol, args.layout)
    if args.subset:
        subsets = sorted({trial.extras.get("subset", "-") for trial in trials})
        trials = [trial for trial in trials if trial.extras.get("subset") == args.subset]
        if not trials:
            raise InputError(
                f"{args.protocol}: no trial of subset '{args.subset}'; it has {', '.join(subsets)}"
            )
    if 0 in count_keys(trials):
        logging.warning("%s: only one class; no error rates can be had", args.protocol)
    audio = audio_paths(trials, args.audio, args.suffix)
    trial_directory(trials, audio).write(args.output / args.name)
    print(f"{args.output / args.name}: {describe_trials(trials)}")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, nargs="?", help="ASVspoof 2019 LA")
    add = parser.add_argument
    add("--output", type=Path, default=Path("data"), help="data directories (default: data)")
    add("--protocol", type=Path, help="a protocol, in place of the corpus")
    add("--audio", type=Path, help="folder with the audio of the protocol")
    add("--name", help="of the data directory of the protocol")
    add("--layout", choices=sorted(LAYOUTS), help="of the protocol (default: by its columns)")
    add("--subset", help="trials of this subset alone, e.g. eval, progress (2021)")
    add("--suffix", default=".flac", help="of the audio files (default: .flac)")
    return parser


def main() -> None:
    """Make the data directories."""
    parser = get_parser()
    args = parser.parse_args()
    cli.log_to_stderr()
    one = [args.protocol, args.audio, args.name]
    if (args.corpus is None) == (None in one) or (args.corpus is not None and any(one)):
        parser.error("give the corpus, or --protocol with --audio and --name")
    if args.corpus is not None:
        prepare_2019(args.corpus, args.output)
    else:
        prepare_protocol(args)


if __name__ == "__main__":
    cli.run(main)
