"""The one bootstrap: draws of units (utterances, speakers, trials) and of training seeds.

Every measure is a ratio of two sums over rows, so that a thousand draws take milliseconds: sums
over drawn units are a matrix product. `rate` and `rate_difference` take rows of names and numbers
as they come; `Draws` serves a whole report, any two numbers of which are then paired.

Speakers are drawn, not utterances, where it is asked for: the utterances of a speaker are alike.
Training seeds are drawn as well, and independently of the units: the pigeonhole bootstrap, Owen
(2007). It counts the variance that belongs to one unit in one run up to three times: intervals are
too wide where that variance is the largest, and too narrow where few runs differ by much
(tools/benchmarks/interval_coverage.py).
"""

import functools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

# 5000 with the value itself, which `p_value` counts as a draw.
RESAMPLES = 4999
LEVEL = 0.05  # of tests, as intervals of 95 % have it
# For definitions of intervals; measured by tools/benchmarks/interval_coverage.py.
TOO_NARROW = "too narrow where few are drawn: that of a rate over 20 speakers holds 9 times in 10"
# Between two of so many ranks lies a thousandth of the trials; values themselves are not thinned.
MAX_THRESHOLDS = 1000
BLOCK = 2**24  # numbers that are held in double precision at a time
Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Interval(NamedTuple):
    """A value with its 95 % percentile interval; a list of three in results.json.

    Attributes:
        value: computed on all data; None where there is nothing to compute it from.
        low: lower bound; None where fewer than two units leave it undefined.
        high: upper bound, likewise.
    """

    value: float | None
    low: float | None
    high: float | None

    def map(self, change: Callable[[float], float]) -> "Interval":
        """The interval of an increasing function of the value, e.g. in another unit."""
        return Interval(*(None if number is None else change(number) for number in self))


class Draws:
    """Draws of units (utterances, speakers, trials) and of training seeds, with replacement.

    The first of the R + 1 rows takes everything once: it gives the value itself. A draw that
    holds none of the rows of a measure is NaN, and `interval` leaves it out. A single unit leaves
    nothing to draw: R is 0, and no interval is given instead of one of width zero.

    Args:
        units: number of units S.
        resamples: number of draws R.
        seed: of the draws.
        runs: number of training seeds K, if it is the same for all measures. With and without it
            the generator is used in different orders; both stay, for kept results have either.

    Attributes:
        counts: how often each unit is drawn (R + 1, S).

    Example:
        >>> draws = Draws(units=2, resamples=9)
        >>> right = np.array([[1.0, 1.0, 0.0, 0.0]])       # one training seed, four trials
        >>> interval(draws.ratio(right, np.ones(4), np.array([0, 0, 1, 1]))).value
        50.0
    """

    def __init__(
        self, units: int, resamples: int = RESAMPLES, seed: int = 0, *, runs: int | None = None
    ) -> None:
        self.resamples, self.seed = resamples if units > 1 else 0, seed
        generator = np.random.default_rng(seed)
        self._seeds: dict[int, np.ndarray] = {}
        # Before the units are drawn: kept results have this order, see the class.
        if runs is not None and runs > 1:
            self._seeds[runs] = self._draw(runs, generator)
        self.counts = self._draw(units, generator, one_by_one=runs == 1)

    def _draw(
        self, count: int, generator: np.random.Generator, one_by_one: bool = False
    ) -> np.ndarray:
        """How often each of `count` things is drawn (R + 1, count), with `count` draws per row."""
        # One byte is enough: up to 255 things cannot exceed it, and of more than 255 none is
        # drawn 255 times (expected once). 70,000 trials take 350 MB then, and not 2.8 GB.
        drawn = np.ones((self.resamples + 1, count), dtype=np.uint8)
        for part in _blocks(drawn[1:]):
            if one_by_one:  # as scipy.stats.bootstrap
                places = generator.integers(0, count, part.shape)
                places += count * np.arange(len(part))[:, None]
                part[:] = np.bincount(places.ravel(), minlength=part.size).reshape(part.shape)
            else:
                part[:] = generator.multinomial(count, np.full(count, 1.0 / count), len(part))
        return drawn

    def training_seeds(self, count: int, drawn: bool = True) -> np.ndarray:
        """How often each training seed is drawn (R + 1, count); always once if not `drawn`."""
        if not drawn:
            return np.ones((self.resamples + 1, count))
        # A generator of their own, so that draws do not depend on which measure asks first.
        if count not in self._seeds:
            self._seeds[count] = self._draw(count, np.random.default_rng((self.seed, count)))
        return self._seeds[count]

    def ratio(
        self, counts: np.ndarray, over: np.ndarray, units: np.ndarray, *, draw_seeds: bool = True
    ) -> np.ndarray:
        """`100 * sum(counts) / sum(over)`, for every draw.

        Args:
            counts: errors or successes of K training seeds and N rows (K, N).
            over: what they are counted over, e.g. words or 1; 0 where a row does not count.
                (K, N), or (N,) for all seeds.
            units: number of the unit of each row (N,).
            draw_seeds: draw training seeds as well; otherwise all count in every draw.

        Returns:
            percent (R + 1,); the first is the value.
        """
        seeds = self.training_seeds(len(counts), draw_seeds)
        most = self.counts.shape[1]
        total, number = (
            (self._sums(np.stack([np.bincount(units, row, most) for row in v], 1)) * seeds).sum(1)
            for v in (counts, np.broadcast_to(over, counts.shape))
        )
        # No warning of a division by zero: such a draw is NaN.
        return np.divide(100.0 * total, number, where=number > 0, out=np.full(len(total), np.nan))

    def _sums(self, table: "np.ndarray | csr_array") -> np.ndarray:
        """Sums over drawn units (R + 1, T) of a table of units (S, T)."""
        return np.concatenate([part.astype(np.float64) @ table for part in _blocks(self.counts)])

    def curve(
        self,
        scores: np.ndarray,
        bonafide: np.ndarray,
        units: np.ndarray,
        measure: Curve,
    ) -> np.ndarray:
        """Mean over training seeds of a measure of the detection error trade-off, for every draw.

        A threshold never parts the copies of a trial that is drawn twice. More than
        `MAX_THRESHOLDS` trials are thinned to that many ranks, so take the first row (the value
        itself) from `espnet_ext.metrics.eer` then.

        Args:
            scores: of K training seeds and N trials (K, N).
            bonafide: which trials are bona fide (N,).
            units: number of the unit of each trial (N,).
            measure: from misses and false alarms (R + 1, T) to one number per draw (R + 1,), or
                to several (M, R + 1).

        Returns:
            an array as the measure returns it, in the same unit.
        """
        found = [measure(*self._errors(row, bonafide, units)) for row in scores]
        # A seed that is drawn twice counts twice; the numbers of each draw add up to K.
        weights = self.training_seeds(len(scores))
        return (np.stack(found, axis=-1) * weights).sum(axis=-1) / len(scores)

    def _errors(
        self, scores: np.ndarray, bonafide: np.ndarray, units: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Misses and false alarms (R + 1, T) at thresholds by rank."""
        # Among equal scores bona fide trials are rejected first, as in the official code.
        order = np.lexsort((~bonafide, scores))
        # Numbers of rejected trials, from none to all, at most MAX_THRESHOLDS of them.
        trials = len(order)
        ranks = np.linspace(0, trials, min(trials + 1, MAX_THRESHOLDS)).round().astype(int)
        ranks = np.unique(ranks)
        first = np.searchsorted(ranks, np.arange(trials), side="right")  # that rejects it
        rejected = []
        for of_class in (bonafide[order], ~bonafide[order]):
            where = units[order][of_class], first[of_class]
            shape = self.counts.shape[1], len(ranks)
            table = csr_array((np.ones(len(where[0])), where), shape=shape)
            # Few units: a dense product is ten times as fast. Many: it would not fit the memory.
            below = self._sums(table.toarray() if shape[0] * shape[1] <= BLOCK // 4 else table)
            np.cumsum(below, axis=1, out=below)
            number = below[:, -1:].copy()
            share = np.full(below.shape, np.nan)
            rejected.append(np.divide(below, number, where=number > 0, out=share))
        return rejected[0], 1.0 - rejected[1]


def _blocks(table: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of a table in parts of at most `BLOCK` numbers."""
    step = max(1, BLOCK // table.shape[1])
    yield from (table[start : start + step] for start in range(0, len(table), step))


def equal_error(miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
    """Equal error rates in percent (R,) of curves (R, T), as the official code has them."""
    # The first of equal differences, as `espnet_ext.metrics.eer` takes it.
    best = np.abs(miss - false_alarm).argmin(axis=1)[:, None]
    sides = [np.take_along_axis(side, best, axis=1)[:, 0] for side in (miss, false_alarm)]
    return 50.0 * (sides[0] + sides[1])


def interval(draws: np.ndarray, value: float | None = None) -> Interval:
    """A value with its 95 % percentile interval.

    Args:
        draws: (R + 1,), the value itself first; NaN where a draw is not defined.
        value: the value itself, where it is known exactly.
    """
    point = float(draws[0] if value is None else value)
    if np.isnan(point):
        return Interval(None, None, None)
    drawn = draws[1:][~np.isnan(draws[1:])]
    if len(drawn) < 2:
        return Interval(point, None, None)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(point, float(low), float(high))


def p_value(draws: np.ndarray) -> float | None:
    """Two-sided p-value of a difference being zero, from the draws of its interval.

    Twice the share of draws on the rarer side of zero, itself counted with them, so that it is
    never 0 (Davison and Hinkley 1997, section 4.2): below 0.05 where the interval excludes zero.

    Args:
        draws: see `interval`.

    Returns:
        None where there is no interval.

    Example:
        >>> p_value(np.array([2.0, *[1.0] * 39])), p_value(np.array([0.5, 1.0, -1.0, 1.0]))
        (0.05, 1.0)
    """
    drawn = draws[1:][~np.isnan(draws[1:])]
    if np.isnan(draws[0]) or len(drawn) < 2:
        return None
    # A draw of exactly zero speaks for both sides.
    rarer = min(int((drawn <= 0.0).sum()), int((drawn >= 0.0).sum()))
    return min(1.0, 2.0 * (1 + rarer) / (1 + len(drawn)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several tests, adjusted so that all below 0.05 hold together (Holm 1979).

    Where nothing differs, one or more of them is below 0.05 in at most 5 of 100 cases, however
    the tests depend on each other.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    adjusted = np.empty(len(values))
    steps = values[order] * np.arange(len(values), 0, -1)
    # A test never passes where one with a smaller p-value fails.
    adjusted[order] = np.maximum.accumulate(steps).clip(max=1.0)
    return [float(value) for value in adjusted]


def most_tests(resamples: int) -> int:
    """The largest number of tests of which one can pass Holm's correction.

    Example:
        >>> most_tests(4999)
        125
    """
    # Binary fractions must not turn a whole number into the one below.
    return int(LEVEL * (1 + resamples) / 2.0 + 1e-9)


def rate(
    counts: Sequence[float],
    over: Sequence[float],
    units: Sequence[Hashable] | None = None,
    runs: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> Interval:
    """`100 * sum(counts) / sum(over)` with its interval.

    Args:
        counts: errors (or successes) of each row.
        over: what they are counted over, e.g. words of the reference, or 1.
        units: what is drawn, e.g. the speaker of each row: all rows of a speaker are drawn
            together. By default each row is a unit.
        runs: the training seed of each row. Several are drawn as well, and independently of the
            units, which are then to be given: the same in every run.
        seed: of the draws.

    Raises:
        ValueError: there is nothing to count over, the lists differ in length, or a run lacks
            a unit.

    Example:
        >>> rate([0, 0, 0], [5, 5, 5])
        Interval(value=0.0, low=0.0, high=0.0)
    """
    return interval(ratio(counts, over, units, runs, seed=seed))


def rate_difference(
    counts: tuple[Sequence[float], Sequence[float]],
    over: tuple[Sequence[float], Sequence[float]],
    units: Sequence[Hashable] | None = None,
    runs: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> Interval:
    """The rate of a first system less that of a second on the same rows, with its interval.

    Units and training seeds are drawn together for both systems, so that what both find hard or
    easy cancels out.

    Args:
        counts: of the first and of the second system, in the same order of rows.
        over: likewise.
        units: see `rate`.
        runs: see `rate`.
        seed: of the draws.

    Raises:
        ValueError: the systems have different numbers of rows, or one has nothing to count over.
    """
    lengths = [len(side) for pair in zip(counts, over, strict=True) for side in pair]
    if len({*lengths}) > 1:
        raise ValueError(f"not paired: {lengths} utterances")
    first, second = (
        ratio(*side, units, runs, seed=seed) for side in zip(counts, over, strict=True)
    )
    return interval(first - second)


def ratio(
    counts: Sequence[float],
    over: Sequence[float],
    units: Sequence[Hashable] | None = None,
    runs: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Draws (R + 1,) of `rate`, for `interval` and `p_value`; arguments as there."""
    number, of = (_table(values, units, runs) for values in (counts, over))
    if number.shape != of.shape or of.sum() <= 0.0:
        raise ValueError("a rate needs something to be counted over")
    draws = _draws(number.shape[1], len(number), seed)
    return draws.ratio(number, of, np.arange(number.shape[1]))


# Rates over the same units share their draws, which pairs them.
@functools.lru_cache(maxsize=8)
def _draws(units: int, runs: int, seed: int) -> Draws:
    return Draws(units, seed=seed, runs=runs)


def _table(
    values: Sequence[float],
    units: Sequence[Hashable] | None,
    runs: Sequence[Hashable] | None,
) -> np.ndarray:
    """Sums of the values of each run and unit (K, S), both in the order in which they occur."""
    array = np.asarray(values, dtype=np.float64)
    lines = [0] * len(array) if runs is None else runs
    columns = range(len(array)) if units is None else units
    if not len(array) == len(columns) == len(lines):
        raise ValueError(f"{len(array)} rows, but {len(columns)} units, {len(lines)} runs")
    names = lines, columns
    numbers = [{name: i for i, name in enumerate(dict.fromkeys(side))} for side in names]
    places = tuple([n[name] for name in side] for n, side in zip(numbers, names, strict=True))
    shape = len(numbers[0]), len(numbers[1])
    table, found = np.zeros(shape), np.zeros(shape, dtype=bool)
    # `table[places] += array` would count a unit that stands in several rows once.
    np.add.at(table, places, array)
    found[places] = True
    if not found.all():
        raise ValueError("not every run has every unit: runs must be of the same utterances")
    return table
