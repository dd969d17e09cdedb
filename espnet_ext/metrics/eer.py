"""Equal error rate, exactly as ASVspoof's official evaluation code has it.

Scores are higher for targets (bona fide speech, the claimed speaker). All rates here are
fractions of 1.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from espnet_ext.metrics.intervals import RESAMPLES, Interval
from espnet_ext.metrics.resampling import Statistic, resample

Measure = Callable[[np.ndarray, np.ndarray], float]

BELOW_ALL = 0.001  # the first threshold lies this far below the lowest score


class DetCurve(NamedTuple):
    """Errors at every threshold; entry k rejects the k lowest scores.

    Attributes:
        miss: share of rejected targets (N + 1,).
        false_alarm: share of accepted non-targets (N + 1,).
        thresholds: ascending (N + 1,). A score *at* the threshold is rejected.
    """

    miss: np.ndarray
    false_alarm: np.ndarray
    thresholds: np.ndarray


class EqualErrorRate(NamedTuple):
    """Where misses and false alarms are closest to each other.

    Attributes:
        rate: mean of the two, a fraction of 1.
        threshold: scores above it are accepted.
    """

    rate: float
    threshold: float


class ErrorRates(NamedTuple):
    """Shares of rejected targets and of accepted non-targets, fractions of 1."""

    miss: float
    false_alarm: float


def det_curve(target: ArrayLike, nontarget: ArrayLike) -> DetCurve:
    """Detection error trade-off of all N scores.

    Source: `compute_det_curve` of the ASVspoof 2019 and 2021 evaluation packages. Among
    equal scores the targets are rejected first, so ties never help a system.

    Args:
        target: scores of the targets (N_t,).
        nontarget: scores of the others (N_n,).

    Raises:
        ValueError: a class has no scores, or a score is not finite.

    Example:
        >>> det_curve([1.0], [0.0]).miss.tolist()
        [0.0, 0.0, 1.0]
    """
    joined = _joined(target, nontarget)
    # Stable, with the targets first: among equal scores the targets are rejected first.
    order = np.argsort(joined, kind="stable")
    scores = joined[order]
    thresholds = np.concatenate(([scores[0] - BELOW_ALL], scores))
    return DetCurve(*_errors(order < np.size(target)), thresholds)


def equal_error_rate(target: ArrayLike, nontarget: ArrayLike) -> EqualErrorRate:
    """Mean of misses and false alarms at the first threshold where they differ least.

    Source: `compute_eer` of the ASVspoof 2019 and 2021 evaluation packages; there is no
    interpolation between thresholds.

    Args:
        target: scores of the targets (N_t,).
        nontarget: scores of the others (N_n,).

    Raises:
        ValueError: see `det_curve`.

    Example:
        >>> equal_error_rate([2.0, 1.5, 1.0, 0.5, -0.5], [0.8, 0.0, -1.0, -1.2, -2.0])
        EqualErrorRate(rate=0.2, threshold=0.0)
    """
    curve = det_curve(target, nontarget)
    threshold = curve.thresholds[_closest(curve.miss, curve.false_alarm)]
    return EqualErrorRate(rate_of(curve.miss, curve.false_alarm), float(threshold))


def error_rates(target: ArrayLike, nontarget: ArrayLike, threshold: float) -> ErrorRates:
    """Errors of a system that accepts scores *at or above* the threshold.

    This is how the official code counts the errors of a speaker verification system at its
    own EER threshold, one trial off from `det_curve`, which rejects a score at it.

    Raises:
        ValueError: see `det_curve`.

    Example:
        >>> error_rates([3.0, 0.2], [0.5, -1.0], threshold=0.2)
        ErrorRates(miss=0.0, false_alarm=0.5)
    """
    accepted, wrong = checked(target, "target"), checked(nontarget, "non-target")
    miss, false_alarm = np.mean(accepted < threshold), np.mean(wrong >= threshold)
    return ErrorRates(float(miss), float(false_alarm))


def eer_interval(
    target: ArrayLike,
    nontarget: ArrayLike,
    target_groups: Sequence[Hashable],
    nontarget_groups: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Equal error rate (a fraction of 1) with its bootstrap interval over groups.

    Args:
        target: scores of the targets (N_t,).
        nontarget: scores of the others (N_n,).
        target_groups: speaker of each target, drawn as a whole.
        nontarget_groups: speaker of each other trial; names are shared with the targets.
        confidence: of the interval.
        seed: of the draws.
        resamples: number of draws.

    Raises:
        ValueError: see `det_curve`, or the numbers of scores and groups differ.
    """
    groups = [*target_groups, *nontarget_groups]
    statistic = curve_statistic(target, nontarget, rate_of)
    return resample(statistic, groups, confidence=confidence, seed=seed, resamples=resamples)


def curve_statistic(target: ArrayLike, nontarget: ArrayLike, measure: Measure) -> Statistic:
    """A statistic of resampled trials (targets first, then the others) for `resample`.

    Args:
        target: scores of the targets (N_t,).
        nontarget: scores of the others (N_n,).
        measure: a number from the misses and false alarms at every threshold.

    Returns:
        a function of how often each trial is drawn (N_t + N_n,). It gives the number that
        `measure` would give if the drawn trials were repeated in the lists of scores, and
        NaN where no target or no other trial is drawn.
    """
    order = np.argsort(_joined(target, nontarget), kind="stable")
    labels = order < np.size(target)

    def statistic(times: np.ndarray) -> float:
        if len(times) != len(order):
            raise ValueError(f"{len(order)} trials, but {len(times)} groups")
        drawn = np.repeat(labels, times[order])
        if drawn.all() or not drawn.any():
            return float("nan")
        return measure(*_errors(drawn))

    return statistic


def rate_of(miss: np.ndarray, false_alarm: np.ndarray) -> float:
    """Equal error rate of a curve, see `equal_error_rate`."""
    best = _closest(miss, false_alarm)
    return float(miss[best] + false_alarm[best]) / 2.0


def _closest(miss: np.ndarray, false_alarm: np.ndarray) -> int:
    return int(np.argmin(np.abs(miss - false_alarm)))


def _errors(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Misses and false alarms (N + 1,) from the classes in the order of scores (N,)."""
    targets = int(labels.sum())
    rejected = np.concatenate(([0], np.cumsum(labels)))
    rejected_others = np.arange(len(labels) + 1) - rejected
    others = len(labels) - targets
    return rejected / targets, (others - rejected_others) / others


def _joined(target: ArrayLike, nontarget: ArrayLike) -> np.ndarray:
    return np.concatenate((checked(target, "target"), checked(nontarget, "non-target")))


def checked(scores: ArrayLike, name: str) -> np.ndarray:
    """The scores in double precision (N,).

    Raises:
        ValueError: there are none, or one is not finite.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.size == 0:
        raise ValueError(f"an error rate needs {name} trials, there are none")
    if not np.isfinite(array).all():
        raise ValueError(f"a {name} score is not a finite number")
    return array
