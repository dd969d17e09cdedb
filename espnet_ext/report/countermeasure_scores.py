"""Every metric of one score file of a countermeasure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from espnet_ext.cm.scores import AsvScore, TrialScore, asv_by_key, by_key
from espnet_ext.errors import InputError
from espnet_ext.metrics import classification, tdcf
from espnet_ext.metrics.classification import BONAFIDE, NO_ATTACK, SPOOF, decide
from espnet_ext.metrics.eer import eer_interval, equal_error_rate
from espnet_ext.metrics.intervals import RESAMPLES, TOO_NARROW, Interval
from espnet_ext.report.tables import interval, markdown_table

Entry = dict[str, Any]
KEYS = ("bonafide", "spoof")
ASV_KEYS = ("target", "nontarget", "spoof")
ANSWERS = (
    "accuracy",
    "balanced_accuracy",
    "bonafide_accuracy",
    "spoof_accuracy",
    "spoof_accept_rate",
)

DEFINITIONS = {
    "eer": "equal error rate in percent as in the official code of ASVspoof 2019 and 2021: mean of "
    "misses and false alarms where they differ least, no interpolation; its threshold is chosen "
    "on these very trials",
    "min_tdcf_2019": "normalised minimum tandem detection cost, form and costs of ASVspoof 2019; "
    "0 is perfect, 1 useless",
    "min_tdcf_2021": "the same in the form of ASVspoof 2021; c0 / (c0 + min(c1, c2)) is perfect, 1 "
    "useless",
    "asv": "errors of the speaker verification system at its own EER threshold, scores at the "
    "threshold accepted; fractions of 1",
    "threshold": "scores above it are answered 'bona fide'",
    "accuracy": "share of right answers in percent; a constant answer has the share of its class",
    "balanced_accuracy": "mean of the accuracies of both classes in percent; a constant answer "
    "has 50",
    "bonafide_accuracy": "share of bona fide trials answered 'bona fide', in percent",
    "spoof_accuracy": "share of spoofs answered 'spoof', in percent",
    "spoof_accept_rate": "share of spoofs answered 'bona fide', in percent",
    "attacks": "eer: spoofs of one attack against all bona fide trials",
    "interval": "95 % percentile bootstrap, {resamples} resamples of {unit}s; thresholds and the "
    "verification system are taken as they are",
}


class Threshold(NamedTuple):
    """An operating point and where it comes from."""

    value: float
    source: str


def threshold_of(dev: Sequence[TrialScore], source: str) -> Threshold:
    """The EER threshold of clean development data.

    Raises:
        InputError: a class has no trials.
    """
    _check_classes(dev, source)
    found = equal_error_rate(by_key(dev, "bonafide"), by_key(dev, "spoof"))
    return Threshold(found.threshold, f"equal error rate of {source}")


def make_results(
    scores: Sequence[TrialScore],
    *,
    asv: Sequence[AsvScore] | None = None,
    threshold: Threshold | None = None,
    utt2spk: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
) -> Entry:
    """All metrics of a score file; what cannot be had without an input is None.

    Args:
        scores: of the trials.
        asv: scores of speaker verification, for the t-DCF.
        threshold: operating point, for accuracies and spoof-accept rates.
        utt2spk: draw speakers in place of trials.
        resamples: of the intervals that are not of plain shares; fewer are faster.

    Returns:
        a dictionary that can be written as JSON; intervals are `[value, low, high]`.

    Raises:
        InputError: a class has no trials, an utterance has no speaker, or the scores of
            speaker verification allow no t-DCF.
    """
    _check_classes(scores, "the score file")
    trials = _Trials(list(scores), _groups(scores, utt2spk), threshold, resamples)
    return {
        "definitions": _definitions("speaker" if utt2spk else "trial", resamples),
        "trials": {key: len(by_key(scores, key)) for key in KEYS},
        "speakers": len(set(trials.groups)) if utt2spk else None,
        **_eer(trials),
        **_tandem(trials, asv),
        **_answers(trials),
        "attacks": [_attack(trials, attack) for attack in trials.attacks()],
    }


class _Trials(NamedTuple):
    """Trials to measure, and how."""

    rows: list[TrialScore]
    groups: list[str]
    threshold: Threshold | None
    resamples: int

    def attacks(self) -> list[str]:
        """Kinds of spoof, sorted."""
        return sorted({row.attack for row in self.rows} - {NO_ATTACK})

    def of(self, attack: str) -> "_Trials":
        """The spoofs of one attack, and all bona fide trials."""
        chosen = [n for n, row in enumerate(self.rows) if row.attack in (attack, NO_ATTACK)]
        rows, groups = [self.rows[n] for n in chosen], [self.groups[n] for n in chosen]
        return self._replace(rows=rows, groups=groups)

    def side(self, key: str) -> tuple[np.ndarray, list[str]]:
        """Scores and groups of the trials with that key."""
        groups = [g for row, g in zip(self.rows, self.groups, strict=True) if row.key == key]
        return by_key(self.rows, key), groups


def _definitions(unit: str, resamples: int) -> Entry:
    text = DEFINITIONS["interval"].format(resamples=resamples, unit=unit)
    return {**DEFINITIONS, "interval": f"{text}; {TOO_NARROW}"}


def _check_classes(scores: Sequence[TrialScore], source: str) -> None:
    for key in KEYS:
        if not any(row.key == key for row in scores):
            raise InputError(f"{source}: no {key} trials among {len(scores)}; score all trials")


def _groups(scores: Sequence[TrialScore], utt2spk: Mapping[str, str] | None) -> list[str]:
    if utt2spk is None:
        return [row.utterance for row in scores]
    missing = [row.utterance for row in scores if row.utterance not in utt2spk]
    if missing:
        raise InputError(
            f"utt2spk: no speaker of utterance {missing[0]} ({len(missing)} in all); use the "
            "file of the same data directory"
        )
    return [utt2spk[row.utterance] for row in scores]


def _percent(value: Interval) -> list[float | None]:
    return [None if bound is None else 100.0 * bound for bound in value]


def _eer(trials: _Trials) -> Entry:
    (bonafide, of_bonafide), (spoof, of_spoof) = (trials.side(key) for key in KEYS)
    found = eer_interval(bonafide, spoof, of_bonafide, of_spoof, resamples=trials.resamples)
    return {
        "eer": _percent(found),
        "eer_threshold": equal_error_rate(bonafide, spoof).threshold,
    }


def _tandem(trials: _Trials, asv: Sequence[AsvScore] | None) -> Entry:
    if asv is None:
        return {**{f"min_tdcf_{version}": None for version in tdcf.VERSIONS}, "asv": None}
    target, nontarget, spoof = (asv_by_key(asv, key) for key in ASV_KEYS)
    try:
        errors = tdcf.verification_errors(target, nontarget, spoof)
        weights = tdcf.coefficients(errors)
        costs = {f"min_tdcf_{v}": _min_tdcf(trials, weights, v) for v in tdcf.VERSIONS}
    except ValueError as error:
        raise InputError(
            f"no t-DCF from these scores of speaker verification: {error}; leave them out to go "
            "without"
        ) from None
    return {**costs, "asv": {**errors._asdict(), **weights._asdict()}}


def _min_tdcf(trials: _Trials, weights: tdcf.Coefficients, version: tdcf.Version) -> Interval:
    (bonafide, of_bonafide), (spoof, of_spoof) = (trials.side(key) for key in KEYS)
    return tdcf.min_tdcf_interval(
        bonafide, spoof, weights, of_bonafide, of_spoof, version, resamples=trials.resamples
    )


def _answers(trials: _Trials) -> Entry:
    """Accuracies at the operating point."""
    if trials.threshold is None:
        return {"threshold": None, **dict.fromkeys(ANSWERS)}
    label = [BONAFIDE if row.key == "bonafide" else SPOOF for row in trials.rows]
    given = decide([row.score for row in trials.rows], trials.threshold.value)
    by_class = classification.class_accuracy(label, given, trials.groups)
    balanced = classification.balanced_accuracy(
        label, given, trials.groups, resamples=trials.resamples
    )
    return {
        "threshold": trials.threshold._asdict(),
        "accuracy": classification.accuracy(label, given, trials.groups),
        "balanced_accuracy": balanced,
        "bonafide_accuracy": by_class.bonafide,
        "spoof_accuracy": by_class.spoof,
        "spoof_accept_rate": _accepted(trials),
    }


def _accepted(trials: _Trials) -> Interval | None:
    """Share of the spoofs above the threshold."""
    if trials.threshold is None:
        return None
    label = [BONAFIDE if row.key == "bonafide" else SPOOF for row in trials.rows]
    scores = [row.score for row in trials.rows]
    return classification.spoof_accept_rate(label, scores, trials.threshold.value, trials.groups)


def _attack(trials: _Trials, attack: str) -> Entry:
    of = trials.of(attack)
    count = sum(row.attack == attack for row in of.rows)
    return {"attack": attack, "trials": count, **_eer(of), "spoof_accept_rate": _accepted(of)}


def summary(results: Entry) -> str:
    """Two small tables for a terminal or a README: all trials, and by attack.

    Args:
        results: of `make_results`, or read from `results.json`.
    """
    rows = [["EER %", interval(results["eer"])]]
    rows += [
        [f"min t-DCF ({version} form)", interval(results[f"min_tdcf_{version}"], 4)]
        for version in tdcf.VERSIONS
    ]
    rows += [[f"{name.replace('_', ' ')} %", interval(results[name])] for name in ANSWERS]
    counts = results["trials"]
    title = f"{counts['bonafide']} bona fide, {counts['spoof']} spoof"
    overall = markdown_table([title, "value (95 % interval)"], rows)
    return f"{overall}\n\n{attack_table(results)}"


def attack_table(results: Entry) -> str:
    """A row for each attack.

    Args:
        results: of `make_results`, or read from `results.json`.
    """
    rows = [
        [e["attack"], str(e["trials"]), interval(e["eer"]), interval(e["spoof_accept_rate"])]
        for e in results["attacks"]
    ]
    return markdown_table(["attack", "trials", "EER %", "spoof accept rate %"], rows)
