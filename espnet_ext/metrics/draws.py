"""The one bootstrap of countermeasure scores: over speakers (or trials) and training seeds.

One set of draws serves a whole report, so that any two of its numbers are paired, and a
thousand of them take seconds: rates are sums over units, and sums over drawn units are
a matrix product. Speakers are drawn, not trials, where speakers are known, because the trials of
a speaker are alike. `espnet_ext.metrics.intervals` has the ratios of sums of speech recognition.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.sparse import csr_array

from espnet_ext.metrics.intervals import RESAMPLES, draw_counts

MAX_THRESHOLDS = 1000
BLOCK = 2**24  # numbers that are held in double precision at a time
Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]
Numbers = list[float | None]


class Draws:
    """Draws of units (speakers, or trials) and of training seeds, with replacement.

    The first of the R + 1 rows takes everything once: it gives the value itself. A draw
    without a trial that is asked for is NaN, and `interval` leaves it out. Of a single unit there
    is nothing to draw, so R is 0 and no interval is given instead of one of width zero.

    Args:
        units: number of units S.
        resamples: number of draws R.
        seed: of the draws.

    Attributes:
        counts: how often each unit is drawn (R + 1, S).

    Example:
        >>> draws = Draws(units=2, resamples=9)
        >>> right = np.array([[1.0, 1.0, 0.0, 0.0]])       # one training seed, four trials
        >>> interval(draws.rate(right, np.ones(4, bool), np.array([0, 0, 1, 1])))[0]
        50.0
    """

    def __init__(self, units: int, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.resamples, self.seed = resamples if units > 1 else 0, seed
        self.counts = self._draw(units, seed)
        self._seeds: dict[int, np.ndarray] = {}

    def _draw(self, count: int, *seed: int) -> np.ndarray:
        """How often each of `count` things is drawn (R + 1, count)."""
        # One byte is enough: up to 255 things cannot exceed it, and of more than 255 none is
        # drawn 255 times (expected once). 70,000 trials take 350 MB then, and not 2.8 GB.
        drawn = np.ones((self.resamples + 1, count), dtype=np.uint8)
        generator = np.random.default_rng(seed)
        for rows in _blocks(self.resamples, count):
            drawn[1:][rows] = draw_counts(count, len(drawn[1:][rows]), generator)
        return drawn

    def training_seeds(self, count: int, drawn: bool = True) -> np.ndarray:
        """How often each training seed is drawn (R + 1, count); always once if not `drawn`."""
        if not drawn:
            return np.ones((self.resamples + 1, count))
        if count not in self._seeds:
            self._seeds[count] = self._draw(count, self.seed, count)
        return self._seeds[count]

    def rate(
        self,
        values: np.ndarray,
        chosen: np.ndarray,
        units: np.ndarray,
        *,
        draw_seeds: bool = True,
    ) -> np.ndarray:
        """`100 * sum(values) / number` over the chosen trials, for every draw.

        Args:
            values: of K training seeds and N trials (K, N).
            chosen: which trials count, (N,) for all seeds or (K, N).
            units: number of the unit of each trial (N,).
            draw_seeds: draw training seeds as well; otherwise all count in every draw.

        Returns:
            percent (R + 1,); the first is the value.
        """
        counted = np.broadcast_to(chosen, values.shape).astype(np.float64)
        seeds = self.training_seeds(len(values), draw_seeds)
        most = self.counts.shape[1]
        total, number = (
            (self._sums(np.stack([np.bincount(units, row, most) for row in v], 1)) * seeds).sum(1)
            for v in (values * counted, counted)
        )
        return np.divide(100.0 * total, number, where=number > 0, out=np.full(len(total), np.nan))

    def _sums(self, table: "np.ndarray | csr_array") -> np.ndarray:
        """Sums over drawn units (R + 1, T) of a table of units (S, T)."""
        blocks = _blocks(len(self.counts), self.counts.shape[1])
        return np.concatenate([self.counts[rows].astype(np.float64) @ table for rows in blocks])

    def curve(
        self,
        scores: np.ndarray,
        bonafide: np.ndarray,
        units: np.ndarray,
        measure: Curve,
    ) -> np.ndarray:
        """Mean over training seeds of a measure of the detection error trade-off, every draw.

        A threshold never parts the copies of a trial that is drawn twice. More than
        `MAX_THRESHOLDS` trials are thinned to that many ranks, so take the first row (the value
        itself) from `espnet_ext.metrics.eer` then.

        Args:
            scores: of K training seeds and N trials (K, N).
            bonafide: which trials are (N,).
            units: of each trial (N,).
            measure: from misses and false alarms (R + 1, T) to a number a draw (R + 1,).

        Returns:
            (R + 1,), in the unit of the measure.
        """
        found = [measure(*self._errors(row, bonafide, units)) for row in scores]
        weights = self.training_seeds(len(scores))
        return (np.stack(found, axis=1) * weights).sum(axis=1) / len(scores)

    def _errors(
        self, scores: np.ndarray, bonafide: np.ndarray, units: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Misses and false alarms (R + 1, T) at thresholds by rank."""
        # Among equal scores bona fide trials are rejected first, as in the official code.
        order = np.lexsort((~bonafide, scores))
        ranks = _ranks(len(order))
        first = np.searchsorted(ranks, np.arange(len(order)), side="right")  # that rejects it
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


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Rows of a table in parts of at most `BLOCK` numbers."""
    step = max(1, BLOCK // columns)
    yield from (slice(start, start + step) for start in range(0, rows, step))


def _ranks(trials: int) -> np.ndarray:
    """Numbers of rejected trials, from none to all, at most `MAX_THRESHOLDS` of them."""
    return np.unique(np.linspace(0, trials, min(trials + 1, MAX_THRESHOLDS)).round().astype(int))


def equal_error(miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
    """Equal error rates in percent (R,) of curves (R, T), as the official code has them."""
    best = np.abs(miss - false_alarm).argmin(axis=1)[:, None]
    sides = [np.take_along_axis(side, best, axis=1)[:, 0] for side in (miss, false_alarm)]
    return 50.0 * (sides[0] + sides[1])


def interval(draws: np.ndarray, value: float | None = None) -> Numbers:
    """A value with its 95 % percentile interval, as results.json has it.

    Args:
        draws: (R + 1,), the value itself first.
        value: where it is known exactly.

    Returns:
        value, low, high. The bounds are None where no two draws are defined; the value is None
        where it is not defined itself.
    """
    point = float(draws[0] if value is None else value)
    if np.isnan(point):
        return [None, None, None]
    drawn = draws[1:][~np.isnan(draws[1:])]
    if len(drawn) < 2:
        return [point, None, None]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return [point, float(low), float(high)]
