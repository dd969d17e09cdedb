"""Accuracy of a countermeasure, by class and under attack, in percent with intervals.

Labels and predictions are numbers of classes: 0 for spoof, 1 for bona fide. Always
answering "spoof" has an accuracy of 90 % at ASVspoof's class balance, so plain accuracy is
shown beside balanced accuracy only.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from espnet_ext.metrics import intervals
from espnet_ext.metrics.eer import EqualErrorRate, equal_error_rate
from espnet_ext.metrics.intervals import RESAMPLES, Interval
from espnet_ext.metrics.resampling import Statistic, resample

SPOOF, BONAFIDE = 0, 1
NO_ATTACK = "-"
Groups = Sequence[Hashable] | None


class ClassAccuracy(NamedTuple):
    """Accuracy of each class in percent; None for a class without trials."""

    spoof: Interval | None
    bonafide: Interval | None


def decide(scores: ArrayLike, threshold: float) -> np.ndarray:
    """Classes (N,) from scores: bona fide *above* the threshold, spoof at or below it.

    With the EER threshold of a set this gives the two error rates that its EER averages.
    """
    return (np.asarray(scores, dtype=np.float64) > threshold).astype(np.int64)


def accuracy(label: ArrayLike, predicted: ArrayLike, groups: Groups = None) -> Interval:
    """Share of right answers in percent.

    Args:
        label: true classes (N,).
        predicted: answers (N,).
        groups: speaker of each trial; by default every trial is drawn by itself.

    Raises:
        ValueError: there are no trials, or the lengths differ.

    Example:
        >>> accuracy([0, 0, 0], [0, 0, 0])
        Interval(value=100.0, low=100.0, high=100.0)
    """
    return _share(_right(label, predicted), groups)


def class_accuracy(label: ArrayLike, predicted: ArrayLike, groups: Groups = None) -> ClassAccuracy:
    """Accuracy of the trials of each class in percent.

    Args:
        label: true classes (N,).
        predicted: answers (N,).
        groups: speaker of each trial.

    Raises:
        ValueError: the lengths differ.
    """
    right, classes = _right(label, predicted), np.asarray(label)
    spoof, bonafide = (_share_where(right, classes == c, groups) for c in (SPOOF, BONAFIDE))
    return ClassAccuracy(spoof, bonafide)


def balanced_accuracy(
    label: ArrayLike,
    predicted: ArrayLike,
    groups: Groups = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean of the accuracies of the two classes in percent; 50 for a constant answer.

    Args:
        label: true classes (N,).
        predicted: answers (N,).
        groups: speaker of each trial.
        seed: of the bootstrap.
        resamples: number of draws.

    Raises:
        ValueError: a class has no trials, or the lengths differ.

    Example:
        >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0]).value
        50.0
    """
    statistic = _balanced(label, _right(label, predicted))
    return resample(statistic, _groups(label, groups), seed=seed, resamples=resamples)


def balanced_accuracy_difference(
    label: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: Groups = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Balanced accuracy of `first` less that of `second` on the same trials, in percent.

    The trials are drawn together for both, so that what both find hard cancels out. With
    the answers under random signs first and those under attack second it is what the attack
    costs beyond noise of the same size.

    Args:
        label: true classes (N,).
        first: answers (N,).
        second: answers to the same trials (N,).
        groups: speaker of each trial.
        seed: of the bootstrap.
        resamples: number of draws.

    Raises:
        ValueError: a class has no trials, or the lengths differ.
    """
    statistic = _balanced(label, _right(label, first) - _right(label, second))
    return resample(statistic, _groups(label, groups), seed=seed, resamples=resamples)


def spoof_accept_rate(
    label: ArrayLike, scores: ArrayLike, threshold: float, groups: Groups = None
) -> Interval:
    """Share of the spoofs that pass for bona fide at a threshold, in percent.

    The threshold belongs to the operating point of the system: take it from clean
    development data (`equal_error_rate(...).threshold`) and keep it under attack.

    Args:
        label: true classes (N,).
        scores: higher for bona fide (N,).
        threshold: scores above it are accepted.
        groups: speaker of each trial.

    Raises:
        ValueError: there is no spoof, or the lengths differ.
    """
    wrong = 1.0 - _right(label, decide(scores, threshold))
    found = _share_where(wrong, np.asarray(label) == SPOOF, groups)
    if found is None:
        raise ValueError("a spoof-accept rate needs spoof trials, there are none")
    return found


def attack_success_rate(
    label: ArrayLike, clean: ArrayLike, attacked: ArrayLike, groups: Groups = None
) -> Interval | None:
    """Share of trials answered wrongly under attack, of those answered rightly without it.

    Args:
        label: true classes (N,).
        clean: answers without attack (N,).
        attacked: answers to the same trials under attack (N,).
        groups: speaker of each trial.

    Returns:
        in percent; None where no answer was right to begin with.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> attack_success_rate([0, 0, 1], clean=[0, 0, 0], attacked=[1, 0, 0]).value
        50.0
    """
    return _share_where(1.0 - _right(label, attacked), _right(label, clean) == 1.0, groups)


def attack_eers(scores: ArrayLike, attacks: Sequence[str]) -> dict[str, EqualErrorRate]:
    """Equal error rate of each kind of spoof against all bona fide trials, fractions of 1.

    Args:
        scores: higher for bona fide (N,).
        attacks: of each trial; "-" for bona fide, as in the protocols.

    Returns:
        attack -> rate, sorted by attack.

    Raises:
        ValueError: there is no bona fide trial, or the lengths differ.
    """
    values, names = np.asarray(scores, dtype=np.float64), list(attacks)
    if len(values) != len(names):
        raise ValueError(f"{len(values)} scores, but {len(names)} attacks")
    bonafide = values[[name == NO_ATTACK for name in names]]
    found = sorted(set(names) - {NO_ATTACK})
    return {a: equal_error_rate(bonafide, values[[n == a for n in names]]) for a in found}


def _right(label: ArrayLike, predicted: ArrayLike) -> np.ndarray:
    classes, answers = np.asarray(label), np.asarray(predicted)
    if classes.shape != answers.shape or classes.ndim != 1:
        raise ValueError(f"labels {classes.shape} and answers {answers.shape} differ in shape")
    if not np.isin(classes, (SPOOF, BONAFIDE)).all():
        raise ValueError("labels must be 0 (spoof) or 1 (bona fide)")
    return (classes == answers).astype(np.float64)


def _share(hits: np.ndarray, groups: Groups) -> Interval:
    return intervals.rate(hits.tolist(), [1.0] * len(hits), groups)


def _share_where(hits: np.ndarray, chosen: np.ndarray, groups: Groups) -> Interval | None:
    if not chosen.any():
        return None
    of = None if groups is None else [g for g, keep in zip(groups, chosen, strict=True) if keep]
    return _share(hits[chosen], of)


def _groups(label: ArrayLike, groups: Groups) -> Sequence[Hashable]:
    return range(np.size(label)) if groups is None else groups


def _balanced(label: ArrayLike, values: np.ndarray) -> Statistic:
    """Statistic of `resample`: mean over the classes of their mean value, in percent."""
    classes = np.asarray(label)
    for number, name in ((SPOOF, "spoof"), (BONAFIDE, "bona fide")):
        if not (classes == number).any():
            raise ValueError(f"a balanced accuracy needs {name} trials, there are none")

    of_class = (classes == SPOOF, classes == BONAFIDE)

    def statistic(times: np.ndarray) -> float:
        means = [_mean(times[chosen], values[chosen]) for chosen in of_class]
        return 50.0 * sum(means)

    return statistic


def _mean(times: np.ndarray, values: np.ndarray) -> float:
    drawn = times.sum()
    return float(times @ values / drawn) if drawn > 0 else float("nan")
