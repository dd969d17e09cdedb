"""Every metric of one score file of a countermeasure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from espnet_ext.cm.scores import AsvScore, TrialScore, by_key
from espnet_ext.errors import InputError
from espnet_ext.metrics import tdcf
from espnet_ext.metrics.bootstrap import RESAMPLES, TOO_NARROW, Draws, Interval
from espnet_ext.metrics.bootstrap import interval as interval_of
from espnet_ext.metrics.classification import Answers, decide
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.report.countermeasure_inputs import Trials, scored_trials, trials_of
from espnet_ext.report.countermeasure_measures import (
    answer_measures,
    curve_measures,
    tandem_weights,
)
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
    "interval": "95 % percentile bootstrap of {resamples} draws of {unit}s with seed 0; thresholds "
    "and the verification system are taken as they are",
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
        utt2spk: draw speakers, as reports do; trials without it.
        resamples: draws of the bootstrap.

    Returns:
        a dictionary that can be written as JSON; intervals are `[value, low, high]`.

    Raises:
        InputError: a class has no trials, an utterance has no speaker, or the scores of
            speaker verification allow no t-DCF.
    """
    _check_classes(scores, "the score file")
    scored = scored_trials(scores)
    trials = trials_of(scored, utt2spk)
    draws = Draws(trials.unit_count, resamples)
    errors, weights = tandem_weights(_by_kind(asv)) if asv is not None else (None, None)
    measures = curve_measures(draws, trials, scored.scores[None], weights)
    rates = measures["eer_by_attack"]
    return {
        "definitions": _definitions("speaker" if utt2spk else "trial", resamples),
        "trials": {key: len(by_key(scores, key)) for key in KEYS},
        "speakers": trials.unit_count if utt2spk else None,
        "eer": measures["eer"],
        "eer_threshold": equal_error_rate(*(by_key(scores, key) for key in KEYS)).threshold,
        **{f"min_tdcf_{v}": measures.get(f"min_tdcf_{v}") for v in tdcf.VERSIONS},
        "asv": {**errors._asdict(), **weights._asdict()} if errors and weights else None,
        **_answers(draws, trials, scored.scores, threshold),
        "attacks": [
            {
                "attack": attack,
                "trials": trials.attacks.count(attack),
                "eer": rates[attack],
                "spoof_accept_rate": _accepted(draws, trials, scored.scores, threshold, attack),
            }
            for attack in rates
        ],
    }


def _by_kind(asv: Sequence[AsvScore]) -> dict[str, np.ndarray]:
    return {key: by_key(asv, key) for key in ASV_KEYS}


def _definitions(unit: str, resamples: int) -> Entry:
    text = DEFINITIONS["interval"].format(resamples=resamples, unit=unit)
    return {**DEFINITIONS, "interval": f"{text}; {TOO_NARROW}"}


def _check_classes(scores: Sequence[TrialScore], source: str) -> None:
    for key in KEYS:
        if not any(row.key == key for row in scores):
            raise InputError(f"{source}: no {key} trials among {len(scores)}; score all trials")


def _answers(
    draws: Draws, trials: Trials, scores: np.ndarray, threshold: Threshold | None
) -> Entry:
    """Accuracies at the operating point."""
    if threshold is None:
        return {"threshold": None, **dict.fromkeys(ANSWERS)}
    right = (decide(scores, threshold.value) == trials.bonafide).astype(np.float64)
    answers = Answers(right[None], trials.bonafide, trials.units)
    measures = answer_measures(draws, answers)
    return {"threshold": threshold._asdict(), **{name: measures[name] for name in ANSWERS}}


def _accepted(
    draws: Draws, trials: Trials, scores: np.ndarray, threshold: Threshold | None, attack: str
) -> Interval | None:
    """Share of the spoofs of one attack above the threshold."""
    if threshold is None:
        return None
    accepted = decide(scores, threshold.value)[None].astype(np.float64)
    chosen = np.array([name == attack for name in trials.attacks])
    return interval_of(draws.ratio(accepted * chosen, chosen, trials.units))


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
