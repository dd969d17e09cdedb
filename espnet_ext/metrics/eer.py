"""Equal error rate, exactly as ASVspoof's official evaluation code has it.

Scores are higher for targets (bona fide speech, the claimed speaker). All rates here are
fractions of 1.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

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
    joined = np.concatenate((checked(target, "target"), checked(nontarget, "non-target")))
    # Stable, with the targets first: among equal scores the targets are rejected first.
    order = np.argsort(joined, kind="stable")
    scores, targets = joined[order], np.size(target)
    others = len(joined) - targets
    rejected = np.concatenate(([0], np.cumsum(order < targets)))
    rejected_others = np.arange(len(joined) + 1) - rejected
    thresholds = np.concatenate(([scores[0] - BELOW_ALL], scores))
    return DetCurve(rejected / targets, (others - rejected_others) / others, thresholds)


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
    # The official code takes the first of equal differences as well.
    best = int(np.argmin(np.abs(curve.miss - curve.false_alarm)))
    rate = float(curve.miss[best] + curve.false_alarm[best]) / 2.0
    return EqualErrorRate(rate, float(curve.thresholds[best]))


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
