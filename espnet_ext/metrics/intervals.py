"""Bootstrap confidence intervals of rates, and of differences of rates."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 4999


class Interval(NamedTuple):
    """A value with its confidence interval.

    Attributes:
        value: computed on all data.
        low: lower bound; None where fewer than two groups leave it undefined.
        high: upper bound, likewise.
    """

    value: float
    low: float | None
    high: float | None


def rate(
    counts: Sequence[float],
    units: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `100 * sum(counts) / sum(units)`.

    Args:
        counts: errors (or successes) of each utterance.
        units: what they are counted over, e.g. words of the reference, or 1.
        groups: what is drawn, e.g. the speaker of each utterance: all utterances of a
            speaker are drawn together. By default each utterance is a group.
        confidence: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: there is nothing to count over, or the lists differ in length.

    Example:
        >>> rate([0, 0, 0], [5, 5, 5])
        Interval(value=0.0, low=0.0, high=0.0)
    """
    return _interval([_sums(counts, groups), _sums(units, groups)], _rate, confidence, seed)


def rate_difference(
    counts: tuple[Sequence[float], Sequence[float]],
    units: tuple[Sequence[float], Sequence[float]],
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the rate of a first system less that of a second on the same utterances.

    Utterances (or groups) are drawn together for both systems, so that what both find
    hard or easy cancels out.

    Args:
        counts: of the first and of the second system, in the same order of utterances.
        units: likewise.
        groups: see `rate`.
        confidence: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: the systems have different numbers of utterances, or one has nothing to
            count over.
    """
    data = [_sums(v, groups) for v in (counts[0], units[0], counts[1], units[1])]

    def difference(
        a: np.ndarray, n_a: np.ndarray, b: np.ndarray, n_b: np.ndarray, axis: int
    ) -> np.ndarray:
        return _rate(a, n_a, axis) - _rate(b, n_b, axis)

    return _interval(data, difference, confidence, seed)


def _rate(counts: np.ndarray, units: np.ndarray, axis: int) -> np.ndarray:
    return 100.0 * counts.sum(axis=axis) / units.sum(axis=axis)


def _sums(values: Sequence[float], groups: Sequence[Hashable] | None) -> np.ndarray:
    """Sum of the values of each group."""
    array = np.asarray(values, dtype=np.float64)
    if groups is None:
        return array
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if len(groups) != len(array):
        raise ValueError(f"{len(array)} utterances, but {len(groups)} groups")
    return np.bincount([numbers[group] for group in groups], weights=array)


def _interval(
    data: list[np.ndarray], statistic: Callable[..., np.ndarray], confidence: float, seed: int
) -> Interval:
    if len({len(values) for values in data}) > 1:
        raise ValueError(f"not paired: {[len(values) for values in data]} utterances")
    if any(units.sum() <= 0.0 for units in data[1::2]):
        raise ValueError("a rate needs something to be counted over")
    value = float(statistic(*data, axis=-1))
    if len(data[0]) < 2:
        return Interval(value, None, None)
    found = bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))
