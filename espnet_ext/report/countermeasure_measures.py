"""Measures of countermeasure scores with their intervals, the same for every command.

`cm_score` (one score file) and `cm_report` (many) take their numbers from here, so that one score
file has one interval.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from espnet_ext.errors import InputError
from espnet_ext.metrics.bootstrap import Draws, Interval, equal_error, interval
from espnet_ext.metrics.classification import Answers
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.metrics.tdcf import (
    Coefficients,
    VerificationErrors,
    coefficients,
    min_tdcf,
    verification_errors,
)
from espnet_ext.report.countermeasure_inputs import Trials


def answer_measures(draws: Draws, answers: Answers) -> dict[str, Interval]:
    """Accuracies at an operating point."""
    spoof, bonafide = (answers.of_class(draws, c) for c in (False, True))
    return {
        "balanced_accuracy": interval(0.5 * (spoof + bonafide)),
        "accuracy": interval(answers.accuracy(draws)),
        "bonafide_accuracy": interval(bonafide),
        "spoof_accuracy": interval(spoof),
        "spoof_accept_rate": interval(100.0 - spoof),
    }


def curve_measures(
    draws: Draws, trials: Trials, scores: np.ndarray, weights: Coefficients | None
) -> dict[str, Any]:
    """What needs no operating point: error rates, and t-DCFs where there are weights.

    Args:
        draws: of the units of the trials.
        trials: N of them.
        scores: of K training seeds (K, N).
        weights: of the t-DCF.
    """
    kinds = np.array([attack or "" for attack in trials.attacks])
    measures: dict[str, Any] = {
        "eer": _eer_interval(draws, trials, scores),
        "eer_by_seed": [_eer(row, trials.bonafide) for row in scores],
        "eer_by_attack": {
            str(kind): _eer_interval(draws, trials, scores, trials.bonafide | (kinds == kind))
            for kind in np.unique(kinds[~trials.bonafide])
        },
    }
    if weights is not None:
        first = _tdcf_interval(draws, trials, scores, weights)
        measures |= {"min_tdcf_2019": first, "min_tdcf_2021": _in_form_2021(first, weights)}
    return measures


def tandem_weights(asv_scores: Mapping[str, np.ndarray]) -> tuple[VerificationErrors, Coefficients]:
    """Errors of a speaker verification system at its own EER, and the weights of the t-DCF.

    Args:
        asv_scores: by kind of trial: target, nontarget, spoof.

    Raises:
        InputError: they allow no t-DCF.
    """
    target, nontarget, spoof = (asv_scores[key] for key in ("target", "nontarget", "spoof"))
    try:
        errors = verification_errors(target, nontarget, spoof)
        weights = coefficients(errors)
    except ValueError as error:
        raise InputError(_no_tdcf(str(error))) from None
    if min(weights.c1, weights.c2) <= 0.0:
        raise InputError(_no_tdcf("the ASV system accepts no spoof, or rejects every target"))
    return errors, weights


def _no_tdcf(why: str) -> str:
    return f"ASV scores: {why}; leave out --asv_scores to go without the t-DCF"


def _eer(scores: np.ndarray, bonafide: np.ndarray) -> float:
    return 100.0 * equal_error_rate(scores[bonafide], scores[~bonafide]).rate


def _eer_interval(
    draws: Draws, trials: Trials, scores: np.ndarray, chosen: np.ndarray | slice = slice(None)
) -> Interval:
    scores, bonafide = scores[:, chosen], trials.bonafide[chosen]
    drawn = draws.curve(scores, bonafide, trials.units[chosen], equal_error)
    return interval(drawn, float(np.mean([_eer(row, bonafide) for row in scores])))


def _tdcf_interval(
    draws: Draws, trials: Trials, scores: np.ndarray, weights: Coefficients
) -> Interval:
    def measure(miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        cost = weights.c1 * miss + weights.c2 * false_alarm
        return np.asarray(cost.min(axis=1) / min(weights.c1, weights.c2))

    drawn = draws.curve(scores, trials.bonafide, trials.units, measure)
    values = [min_tdcf(r[trials.bonafide], r[~trials.bonafide], weights).value for r in scores]
    return interval(drawn, float(np.mean(values)))


def _in_form_2021(values: Interval, weights: Coefficients) -> Interval:
    """The two forms of the t-DCF differ by a shift and a scale, see `espnet_ext.metrics.tdcf`."""
    least = min(weights.c1, weights.c2)
    total = weights.c0 + least
    return values.map(lambda value: (weights.c0 + least * value) / total)
