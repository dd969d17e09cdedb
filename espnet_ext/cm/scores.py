"""Score files: of countermeasures, and of the speaker verification system of the t-DCF."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_ext.data.asvspoof import AsvTrial, attack_of, check_asv_key
from espnet_ext.data.files import write_lines
from espnet_ext.data.lines import check_count, read_columns
from espnet_ext.errors import InputError, summarize


class TrialScore(NamedTuple):
    """A line `utt attack key score` of a score file.

    Attributes:
        utterance: its name.
        attack: "-" for bona fide.
        key: "bonafide" or "spoof".
        score: higher for bona fide.
    """

    utterance: str
    attack: str
    key: str
    score: float


def read_scores(*paths: str | Path) -> list[TrialScore]:
    """Read a score file, or the parts that several jobs wrote, in the order of the lines.

    Raises:
        InputError: names file and line: not four columns, an unknown key, an attack that
            does not agree with it, a score that is not a finite number, an utterance that
            appears in two lines or in two files.

    Example:
        >>> read_scores("exp/senet/eval/scores.1.txt", "exp/senet/eval/scores.2.txt")
        ... # doctest: +SKIP
    """
    rows: list[TrialScore] = []
    owner: dict[str, str | Path] = {}
    problems = []
    for path in paths:
        part = read_columns(path, trial_score, key=lambda row: row.utterance)
        for row in part:
            # Within one file `read_columns` has found the utterances that appear twice.
            if owner.setdefault(row.utterance, path) != path:
                problems.append(
                    f"{path}: utterance {row.utterance} has a score in {owner[row.utterance]} too; "
                    "remove one of the files"
                )
        rows += part
    if problems:
        raise InputError(summarize(problems))
    return rows


def trial_score(columns: list[str]) -> TrialScore:
    """The columns of a line of a score file.

    Raises:
        ValueError: they are not those of such a line.
    """
    check_count(columns, {4}, "utterance attack key score")
    utterance, attack, key, score = columns
    return TrialScore(utterance, attack_of(attack, key), key, _number(score))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"the score '{text}' is not a number; score it again") from None
    # `float` reads nan and inf, and a rate computed from them would look like a number.
    if not math.isfinite(value):
        raise ValueError(f"the score is {text}; the model diverged or got a bad input, look at it")
    return value


def write_score_file(path: str | Path, scores: Iterable[TrialScore]) -> None:
    """Write a score file sorted by utterance, so that any number of jobs gives the same bytes.

    Raises:
        InputError: an utterance has two scores, or a score is not a finite number.
    """
    rows = sorted(scores)
    twice = [name for name, count in Counter(row.utterance for row in rows).items() if count > 1]
    bad = [row.utterance for row in rows if not math.isfinite(row.score)]
    problems = [f"{path}: utterance {name} has two scores" for name in twice]
    problems += [f"{path}: the score of utterance {name} is not a finite number" for name in bad]
    if problems:
        raise InputError(summarize(problems))
    # The shortest text that reads back as the same number: no ties by rounding.
    write_lines(path, (f"{u} {attack} {key} {float(s)!r}" for u, attack, key, s in rows))


def by_key(scores: "Iterable[TrialScore | AsvScore]", key: str) -> np.ndarray:
    """Scores (N,) of the trials with that key, in order."""
    return np.array([row.score for row in scores if row.key == key], dtype=np.float64)


def check_trials(
    scores: Sequence[TrialScore], utt2label: Mapping[str, str], utt2attack: Mapping[str, str]
) -> None:
    """Check that exactly the trials of a data directory have scores, with their keys.

    Args:
        scores: trials of a score file.
        utt2label: key of each trial.
        utt2attack: attack of each trial; that of bona fide ones, "-", may be left out.

    Raises:
        InputError: names the utterances that lack a score, are not in the data, or have
            another key or attack there.
    """
    found = {row.utterance: (row.key, row.attack) for row in scores}
    truth = {
        # A spoof without an attack must not agree with any; the message shows the '?'.
        name: (label, utt2attack.get(name, "-" if label == "bonafide" else "?"))
        for name, label in utt2label.items()
    }
    problems = [f"utterance {name} has no score" for name in truth if name not in found]
    problems += [f"utterance {name} is not in the data" for name in found if name not in truth]
    problems += [
        f"utterance {name} is '{' '.join(found[name])}', in the data '{' '.join(truth[name])}'"
        for name in found
        if name in truth and found[name] != truth[name]
    ]
    if problems:
        raise InputError(
            f"not the scores of the data directory; score it again:\n{summarize(problems)}"
        )


class AsvScore(NamedTuple):
    """A line `CM_KEY ASV_KEY SCORE` of the scores of speaker verification.

    Attributes:
        source: "bonafide" or the attack.
        key: "target", "nontarget" or "spoof".
        score: higher for the claimed speaker.
    """

    source: str
    key: str
    score: float


def read_asv_scores(path: str | Path) -> list[AsvScore]:
    """Read the scores of speaker verification, as ASVspoof 2019 gives them.

    Raises:
        InputError: names file and line: not three columns, an unknown key, keys that
            contradict each other, a score that is not a finite number; or a kind of trial is
            missing.
    """
    rows = read_columns(path, asv_score)
    lacking = {"target", "nontarget", "spoof"} - {row.key for row in rows}
    if lacking:
        raise InputError(
            f"{path}: no {' and no '.join(sorted(lacking))} trials; the t-DCF needs all three "
            "kinds, use the whole score file"
        )
    return rows


def asv_score(columns: list[str]) -> AsvScore:
    """The columns of a line of speaker verification.

    Raises:
        ValueError: they are not those of such a line.
    """
    check_count(columns, {3}, "CM_KEY ASV_KEY SCORE")
    source, key, score = columns
    check_asv_key(source, key)
    return AsvScore(source, key, _number(score))


def check_asv_attacks(
    asv: Iterable[AsvScore], attacks: Iterable[str], where: str | Path, *, part: bool = False
) -> None:
    """Check that the scores of speaker verification are of the same set of spoofs.

    Every spoof of a partition is one verification trial, so the numbers of each attack
    agree. Training and development data share their attacks: only the numbers tell them
    apart.

    Args:
        asv: scores of speaker verification.
        attacks: attack of each countermeasure trial; "-" for bona fide.
        where: the file of `asv`, for the message.
        part: the countermeasure trials are a part of the partition (a subset that is
            attacked, say): then it may have fewer of each attack, or none.

    Raises:
        InputError: names the attacks and both numbers.
    """
    verified = Counter(row.source for row in asv if row.key == "spoof")
    scored = Counter(attack for attack in attacks if attack != "-")
    problems = [
        f"attack {attack}: {verified[attack]} trials there, {scored[attack]} countermeasure trials"
        for attack in sorted({*verified, *scored})
        if verified[attack] < scored[attack] or (verified[attack] > scored[attack] and not part)
    ]
    if problems:
        raise InputError(
            f"{where}: scores of speaker verification on other spoofs than the countermeasure's; "
            f"use the file of the same partition:\n{summarize(problems)}"
        )


def check_asv_protocol(
    asv: Sequence[AsvScore], protocol: Sequence[AsvTrial], where: str | Path
) -> None:
    """Check that line n of the verification scores belongs to line n of its protocol.

    Args:
        asv: scores of speaker verification.
        protocol: result of `espnet_ext.data.asvspoof.read_asv_protocol`.
        where: the file of `asv`, for the message.

    Raises:
        InputError: numbers of lines differ, or keys of a line.
    """
    if len(asv) != len(protocol):
        raise InputError(
            f"{where}: {len(asv)} scores for {len(protocol)} trials of the ASV protocol; use the "
            "files of the same partition"
        )
    problems = [
        f"{where}:{number}: '{row.source} {row.key}', in the protocol '{trial.source} {trial.key}'"
        for number, (row, trial) in enumerate(zip(asv, protocol, strict=True), 1)
        if (row.source, row.key) != (trial.source, trial.key)
    ]
    if problems:
        raise InputError(f"scores and ASV protocol disagree:\n{summarize(problems)}")
