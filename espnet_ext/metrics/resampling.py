"""Bootstrap intervals of statistics that are no ratio of sums, such as an equal error rate.

`espnet_ext.metrics.intervals` does ratios of sums and is faster for them.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from espnet_ext.metrics.intervals import RESAMPLES, Interval

Statistic = Callable[[np.ndarray], float]


def resample(
    statistic: Statistic,
    groups: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Percentile bootstrap interval over groups of trials.

    Args:
        statistic: takes how often each trial is drawn (N,) and returns a number, or NaN
            where the draw leaves it undefined (one class only). Such draws are left out.
        groups: of each trial, e.g. its speaker: all trials of a group are drawn together.
        confidence: of the interval.
        seed: of the draws.
        resamples: number of draws.

    Returns:
        bounds are None with fewer than two groups, or where no draw is defined.

    Example:
        >>> values = np.array([1.0, 1.0, 1.0])
        >>> resample(lambda drawn: float(drawn @ values / drawn.sum()), ["a", "b", "b"])
        Interval(value=1.0, low=1.0, high=1.0)
    """
    value = statistic(np.ones(len(groups), dtype=np.int64))
    drawn = [statistic(times) for times in _draws(groups, seed, resamples)]
    defined = np.array([found for found in drawn if not np.isnan(found)])
    if len(defined) == 0:
        return Interval(float(value), None, None)
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(defined, [tail, 100.0 - tail])
    return Interval(float(value), float(low), float(high))


def _draws(groups: Sequence[Hashable], seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each trial is drawn, `resamples` times; nothing with fewer than two groups."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    count = len(numbers)
    if count < 2:
        return
    group_of = np.array([numbers[group] for group in groups])
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(0, count, count)
        yield np.bincount(drawn, minlength=count)[group_of]
