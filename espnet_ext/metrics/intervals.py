"""Bootstrap confidence intervals of rates, and of differences of rates."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

RESAMPLES = 4999
# For definitions of intervals; measured by tools/benchmarks/interval_coverage.py.
TOO_NARROW = "too narrow where few are drawn: that of a rate over 20 speakers holds 9 times in 10"


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
    runs: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `100 * sum(counts) / sum(units)`.

    Of few groups it is too narrow: over 20 speakers it holds the true value nine times in ten, not
    19 times in 20 (tools/benchmarks/interval_coverage.py).

    Args:
        counts: errors (or successes) of each utterance.
        units: what they are counted over, e.g. words of the reference, or 1.
        groups: what is drawn, e.g. the speaker of each utterance: all utterances of a
            speaker are drawn together. By default each utterance is a group.
        runs: the training run of each value, e.g. its seed. Several are drawn as well, and
            independently of the groups, which are then to be given: the same in every run.
        confidence: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: there is nothing to count over, the lists differ in length, or a run lacks
            a group.

    Example:
        >>> rate([0, 0, 0], [5, 5, 5])
        Interval(value=0.0, low=0.0, high=0.0)
    """
    data = [_table(values, groups, runs) for values in (counts, units)]
    return _interval(data, _rate, confidence, seed)


def rate_difference(
    counts: tuple[Sequence[float], Sequence[float]],
    units: tuple[Sequence[float], Sequence[float]],
    groups: Sequence[Hashable] | None = None,
    runs: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the rate of a first system less that of a second on the same utterances.

    Utterances (or groups) and training runs are drawn together for both systems, so that what
    both find hard or easy cancels out.

    Args:
        counts: of the first and of the second system, in the same order of utterances.
        units: likewise.
        groups: see `rate`.
        runs: see `rate`.
        confidence: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: the systems have different numbers of utterances, or one has nothing to
            count over.
    """
    lists = counts[0], units[0], counts[1], units[1]
    data = [_table(values, groups, runs) for values in lists]

    def difference(
        a: np.ndarray, n_a: np.ndarray, b: np.ndarray, n_b: np.ndarray, axis: int
    ) -> np.ndarray:
        return _rate(a, n_a, axis) - _rate(b, n_b, axis)

    return _interval(data, difference, confidence, seed)


def _rate(counts: np.ndarray, units: np.ndarray, axis: int) -> np.ndarray:
    return 100.0 * counts.sum(axis=axis) / units.sum(axis=axis)


def draw_counts(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `count` things is drawn, of as many draws with replacement.

    Returns:
        (resamples, count); each row sums to `count`.
    """
    return generator.multinomial(count, np.full(count, 1.0 / count), resamples)


def _table(
    values: Sequence[float],
    groups: Sequence[Hashable] | None,
    runs: Sequence[Hashable] | None,
) -> np.ndarray:
    """Sums of the values of each run and group (K, G); one run without `runs`."""
    array = np.asarray(values, dtype=np.float64)
    columns = _numbers(range(len(array)) if groups is None else groups)
    rows = _numbers([0] * len(array) if runs is None else runs)
    if not len(array) == len(columns) == len(rows):
        raise ValueError(f"{len(array)} utterances, but {len(columns)} groups, {len(rows)} runs")
    shape = max(rows, default=-1) + 1, max(columns, default=-1) + 1
    table, found = np.zeros(shape), np.zeros(shape, dtype=bool)
    np.add.at(table, (rows, columns), array)
    found[rows, columns] = True
    if not found.all():
        raise ValueError("not every run has every group: runs must be of the same utterances")
    return table


def _numbers(names: Sequence[Hashable]) -> list[int]:
    """A number for each name, in the order in which they first occur."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def _interval(
    data: list[np.ndarray], statistic: Callable[..., np.ndarray], confidence: float, seed: int
) -> Interval:
    if len({table.shape for table in data}) > 1:
        raise ValueError(f"not paired: {[table.shape[1] for table in data]} utterances")
    if any(units.sum() <= 0.0 for units in data[1::2]):
        raise ValueError("a rate needs something to be counted over")
    value = float(statistic(*(table.ravel() for table in data), axis=-1))
    runs, groups = data[0].shape
    if groups < 2:
        return Interval(value, None, None)
    generator = np.random.default_rng(seed)
    if runs > 1:
        return Interval(value, *_crossed(data, statistic, confidence, generator))
    found = bootstrap(
        [table[0] for table in data],
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=generator,
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))


def _crossed(
    data: list[np.ndarray],
    statistic: Callable[..., np.ndarray],
    confidence: float,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """Bounds where runs and groups are drawn independently; scipy draws along one axis only.

    The pigeonhole bootstrap, Owen (2007): it counts what is of one group in one run up to three
    times, so it is too wide where that is most, and too narrow where few runs differ by much.
    """
    runs, groups = (draw_counts(n, RESAMPLES, generator) for n in data[0].shape)
    sums = [((groups @ table.T) * runs).sum(axis=1, keepdims=True) for table in data]
    tails = 50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)
    low, high = np.percentile(statistic(*sums, axis=-1), tails)
    return float(low), float(high)
