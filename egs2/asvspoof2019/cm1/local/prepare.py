#!/usr/bin/env python3
"""ASVspoof 2019 LA, or any ASVspoof protocol with its audio, as Kaldi data directories.

The scores of speaker verification, where the corpus has them, become `asv_scores` in the
data directory, checked against the trials.

Everything is driven by the protocol files. The audio folders of the development and
evaluation partitions hold more files than the protocols list (enrolment speech), so that a
glob would give another set of trials.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from espnet_ext.bin import cli
from espnet_ext.cm.scores import check_asv_attacks, check_asv_protocol, read_asv_scores
from espnet_ext.data.asvspoof import KEYS, AsvTrial, attack_of, check_asv_key
from espnet_ext.data.corpus import CorpusUtterance, data_directory, folder_with
from espnet_ext.data.directory import DataDirectory
from espnet_ext.data.lines import check_count, read_columns
from espnet_ext.errors import InputError, listed, refuse


@dataclass(frozen=True)
class Trial:
    """A line of a protocol.

    Attributes:
        speaker: who speaks, or whose voice the spoof claims to be.
        utterance: name of the file without its ending.
        attack: id of the spoofing system; "-" for bona fide.
        key: "bonafide" or "spoof".
        extras: the other columns by name, e.g. `codec` or `subset`; empty ones ("-") too.
    """

    speaker: str
    utterance: str
    attack: str
    key: str
    extras: Mapping[str, str] = field(default_factory=dict)


LAYOUTS = {
    "2019_la": "speaker utterance environment attack key",
    "2021_la": "speaker utterance codec transmission attack key trim subset",
    "2021_df": "speaker utterance codec source attack key trim subset vocoder task team gender "
    "[language]",
    "asvspoof5": "speaker utterance gender codec quality codec_source condition attack key unused",
    "asvspoof5_challenge": "speaker utterance gender condition attack key",
}
"""Columns of the protocols: ASVspoof 2019 LA, 2021 LA and DF (`trial_metadata.txt`), and
ASVspoof 5 as released (`*.tsv`) and as in the challenge (`*.metadata.txt`). Not every line has
the one in brackets."""


class Partition(NamedTuple):
    """A partition of ASVspoof 2019 LA, with paths below the folder of `la_2019`.

    Attributes:
        protocol: of the countermeasure.
        audio: folder of its files.
        asv_scores: of speaker verification; training data has none.
        asv_protocol: of the same trials, line by line.
        official: bona fide and spoof trials of the official partition.
    """

    protocol: str
    audio: str
    asv_scores: str | None
    asv_protocol: str | None
    official: tuple[int, int]


def _partition(name: str, official: tuple[int, int], asv: bool = True) -> Partition:
    trials = f"ASVspoof2019.LA.asv.{name}.gi.trl"
    return Partition(
        f"ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{name}.{'trl' if asv else 'trn'}.txt",
        f"ASVspoof2019_LA_{name}/flac",
        f"ASVspoof2019_LA_asv_scores/{trials}.scores.txt" if asv else None,
        f"ASVspoof2019_LA_asv_protocols/{trials}.txt" if asv else None,
        official,
    )


PARTITIONS_2019 = {
    "train": _partition("train", (2580, 22800), asv=False),
    "dev": _partition("dev", (2548, 22296)),
    "eval": _partition("eval", (7355, 63882)),
}


def read_protocol(path: str | Path, layout: str | None = None) -> list[Trial]:
    """Read a countermeasure protocol, in the order of the file.

    Args:
        path: the protocol.
        layout: a name of `LAYOUTS`; by default the one with as many columns as the first
            line.

    Raises:
        InputError: names file and line: another number of columns, a key that is neither
            bonafide nor spoof, an attack of a bona fide trial or none of a spoof, an
            utterance that stands in two lines.

    Example:
        >>> read_protocol("ASVspoof2019.LA.cm.train.trn.txt")[0]   # doctest: +SKIP
        Trial(speaker='LA_0079', utterance='LA_T_1138215', attack='-', key='bonafide', ...)
    """
    # Numbers of columns that fit; not every line has the one in brackets.
    counts = {n: {len(c.split()) - c.count("["), len(c.split())} for n, c in LAYOUTS.items()}
    if layout is None:
        found = read_columns(path, len)[0]
        layout = next((name for name, fitting in counts.items() if found in fitting), None)
        if layout is None:
            known = ", ".join(f"{min(fitting)} ({name})" for name, fitting in counts.items())
            raise InputError(
                f"{path}:1: {found} columns; a protocol has {known}; is it the right file?"
            )
    if layout not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise InputError(f"protocol layout '{layout}' is not known; use one of {known}")
    needed, _, optional = LAYOUTS[layout].partition(" [")
    names, allowed = [*needed.split(), *optional.strip("]").split()], counts[layout]

    def _parse(columns: list[str]) -> Trial:
        check_count(columns, allowed, needed)
        values = dict(zip(names, columns, strict=False))
        key = values.pop("key")
        attack = attack_of(values.pop("attack"), key)
        return Trial(values.pop("speaker"), values.pop("utterance"), attack, key, values)

    return read_columns(path, _parse, key=lambda trial: trial.utterance)


def read_asv_protocol(path: str | Path) -> list[AsvTrial]:
    """Read a protocol of speaker verification: `speaker utterance bonafide|attack key`.

    An utterance may stand in many lines, with a claimed speaker each. Line n belongs to line
    n of the score file.

    Raises:
        InputError: names file and line.
    """

    def _parse(columns: list[str]) -> AsvTrial:
        check_count(columns, {4}, "speaker utterance bonafide-or-attack key")
        check_asv_key(columns[2], columns[3])
        return AsvTrial(*columns)

    return read_columns(path, _parse)


def la_2019(corpus: str | Path) -> Path:
    """The folder of ASVspoof 2019 LA that has the protocols: `corpus` or its `LA/`.

    Raises:
        InputError: neither has them.
    """
    return folder_with("ASVspoof2019_LA_cm_protocols/", Path(corpus), "LA", "ASVSPOOF2019_LA")


def audio_paths(
    trials: Sequence[Trial], folder: str | Path, suffix: str = ".flac"
) -> dict[str, str]:
    """File of every utterance.

    Args:
        trials: of a protocol.
        folder: has the files; its path is kept as it is, relative or absolute.
        suffix: of the files.

    Raises:
        InputError: names the files that are missing.
    """
    paths = {trial.utterance: Path(folder, f"{trial.utterance}{suffix}") for trial in trials}
    missing = [f"{p}: no such file (utterance {u})" for u, p in paths.items() if not p.is_file()]
    refuse(
        missing,
        f"{len(missing)} of {len(paths)} audio files of the protocol are missing; complete the "
        "corpus or correct its path:",
    )
    return {utterance: str(path) for utterance, path in paths.items()}


def trial_directory(
    trials: Sequence[Trial], audio: Mapping[str, str], others: Mapping[str, Path] | None = None
) -> DataDirectory:
    """A Kaldi data directory: wav.scp utt2spk utt2label utt2attack.

    Utterances keep their official names, so that score files can be compared with others'.

    Args:
        trials: of a protocol.
        audio: file of each utterance.
        others: files to copy into it, such as the scores of speaker verification.
    """
    data = data_directory(
        CorpusUtterance(
            trial.utterance,
            trial.speaker,
            Path(audio[trial.utterance]),
            {"utt2label": trial.key, "utt2attack": trial.attack},
        )
        for trial in trials
    )
    return DataDirectory(data.tables, dict(others or {}))


def count_keys(trials: Sequence[Trial]) -> tuple[int, int]:
    """Numbers of bona fide and of spoof trials."""
    bonafide = sum(trial.key == "bonafide" for trial in trials)
    return bonafide, len(trials) - bonafide


def describe_trials(trials: Sequence[Trial], official: tuple[int, int] | None = None) -> str:
    """One line about a partition: how many trials, and whether it is the official one by count.

    Args:
        trials: of the partition.
        official: bona fide and spoof trials of the official partition.

    Example:
        >>> describe_trials([Trial("s", "u", "-", "bonafide")], official=(2580, 22800))
        '1 bona fide, 0 spoof; not the official partition (2580 bona fide, 22800 spoof)'
    """
    found = count_keys(trials)
    text = "{} bona fide, {} spoof"
    if official is None:
        return text.format(*found)
    if found == official:
        return f"{text.format(*found)}; the official partition"
    return f"{text.format(*found)}; not the official partition ({text.format(*official)})"


def check_classes(trials: Sequence[Trial], where: str | Path) -> None:
    """Refuse a partition for training that lacks a class.

    Raises:
        InputError: names the class.
    """
    for key, count in zip(reversed(KEYS), count_keys(trials), strict=True):
        if count == 0:
            raise InputError(
                f"{where}: no {key} trial among {len(trials)}; a countermeasure cannot be trained "
                "or chosen on it, use the whole protocol"
            )


def check_disjoint(partitions: Mapping[str, Sequence[Trial]]) -> list[str]:
    """Look for speakers and utterances that stand in two partitions.

    Args:
        partitions: name -> trials.

    Returns:
        a warning for every pair of partitions with common speakers, which are logged too.

    Raises:
        InputError: an utterance stands in two partitions.
    """
    warnings = []
    for (first, here), (second, there) in combinations(partitions.items(), 2):
        if common := {t.utterance for t in here} & {t.utterance for t in there}:
            raise InputError(
                f"{first} and {second} have {len(common)} utterances in common ({listed(common)}); "
                "remove them from one of the protocols"
            )
        if common := {t.speaker for t in here} & {t.speaker for t in there}:
            warnings.append(
                f"{first} and {second} have {len(common)} speakers in common ({listed(common)}); "
                "results on them are too good"
            )
            logging.warning(warnings[-1])
    return warnings


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
        InputError: see `read_protocol`, `audio_paths` and `espnet_ext.cm.scores`.
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
        InputError: see `read_protocol` and `audio_paths`, or no trial is of the wanted subset.
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
