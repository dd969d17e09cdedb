"""Bootstrap of countermeasure scores over speakers and training seeds, all draws at once.

One set of draws serves a whole report, so that any two of its numbers are paired, and a
thousand of them take seconds: rates are sums over speakers, and sums over drawn speakers are
a matrix product. Speakers are drawn, not trials, because the trials of a speaker are alike.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from espnet_ext.metrics.intervals import RESAMPLES, draw_counts

MAX_THRESHOLDS = 1000
Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]
Numbers = list[float | None]


class Draws:
    """Draws of speakers, and of training seeds, with replacement.

    The first of the R + 1 rows takes everything once: it gives the value itself. A draw
    without a trial that is asked for is NaN, and `interval` leaves it out.

    Args:
        speakers: number of speakers S.
        resamples: number of draws R.
        seed: of the draws.

    Example:
        >>> draws = Draws(speakers=2, resamples=9)
        >>> right = np.array([[1.0, 1.0, 0.0, 0.0]])       # one training seed, four trials
        >>> interval(draws.rate(right, np.ones(4, bool), np.array([0, 0, 1, 1])))[0]
        50.0
    """

    def __init__(self, speakers: int, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.resamples, self.seed = resamples, seed
        self.speakers = self._draw(speakers, seed)
        if speakers < 2:  # nothing to draw: no interval, in place of one of width zero
            self.speakers[1:] = np.nan
        self._seeds: dict[int, np.ndarray] = {}

    def _draw(self, count: int, *seed: int) -> np.ndarray:
        """How often each of `count` things is drawn (R + 1, count)."""
        drawn = draw_counts(count, self.resamples, np.random.default_rng(seed))
        return np.concatenate([np.ones((1, count)), drawn])

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
        speakers: np.ndarray,
        *,
        draw_seeds: bool = True,
    ) -> np.ndarray:
        """`100 * sum(values) / number` over the chosen trials, for every draw.

        Args:
            values: of K training seeds and N trials (K, N).
            chosen: which trials count, (N,) for all seeds or (K, N).
            speakers: number of the speaker of each trial (N,).
            draw_seeds: draw training seeds as well; otherwise all count in every draw.

        Returns:
            percent (R + 1,); the first is the value.
        """
        member = np.eye(self.speakers.shape[1])[speakers]
        counted = np.broadcast_to(chosen, values.shape).astype(np.float64)
        seeds = self.training_seeds(len(values), draw_seeds)
        total, number = (
            ((self.speakers @ (v @ member).T) * seeds).sum(axis=1)
            for v in (values * counted, counted)
        )
        return np.divide(100.0 * total, number, where=number > 0, out=np.full(len(total), np.nan))

    def curve(
        self,
        scores: np.ndarray,
        bonafide: np.ndarray,
        speakers: np.ndarray,
        measure: Curve,
    ) -> np.ndarray:
        """Mean over training seeds of a measure of the detection error trade-off, every draw.

        A threshold never parts the copies of a trial that is drawn twice. More than
        `MAX_THRESHOLDS` trials are thinned to that many ranks, so take the first row (the value
        itself) from `espnet_ext.metrics.eer` then.

        Args:
            scores: of K training seeds and N trials (K, N).
            bonafide: which trials are (N,).
            speakers: of each trial (N,).
            measure: from misses and false alarms (R + 1, T) to a number a draw (R + 1,).

        Returns:
            (R + 1,), in the unit of the measure.
        """
        found = [measure(*self._errors(row, bonafide, speakers)) for row in scores]
        weights = self.training_seeds(len(scores))
        return (np.stack(found, axis=1) * weights).sum(axis=1) / len(scores)

    def _errors(
        self, scores: np.ndarray, bonafide: np.ndarray, speakers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Misses and false alarms (R + 1, T) at thresholds by rank."""
        # Among equal scores bona fide trials are rejected first, as in the official code.
        order = np.lexsort((~bonafide, scores))
        ranks = _ranks(len(order))
        rejected = []
        for of_class in (bonafide[order], ~bonafide[order]):
            member = np.eye(self.speakers.shape[1])[speakers[order]] * of_class[:, None]
            below = np.concatenate([np.zeros((1, member.shape[1])), np.cumsum(member, axis=0)])
            number = self.speakers @ below[-1]
            share = np.full((len(number), len(ranks)), np.nan)
            np.divide(
                self.speakers @ below[ranks].T,
                number[:, None],
                where=number[:, None] > 0,
                out=share,
            )
            rejected.append(share)
        return rejected[0], 1.0 - rejected[1]


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


class Answers(NamedTuple):
    """Which trials were answered rightly, by class.

    Attributes:
        right: 1 or 0, of K training seeds and N trials (K, N).
        bonafide: which trials are (N,).
        speakers: number of the speaker of each trial (N,).
    """

    right: np.ndarray
    bonafide: np.ndarray
    speakers: np.ndarray

    def accuracy(self, draws: Draws, draw_seeds: bool = True) -> np.ndarray:
        """Share of right answers in percent, every draw (R + 1,)."""
        everything = np.ones(len(self.bonafide), dtype=bool)
        return draws.rate(self.right, everything, self.speakers, draw_seeds=draw_seeds)

    def of_class(self, draws: Draws, bonafide: bool, draw_seeds: bool = True) -> np.ndarray:
        """The same of the trials of one class (R + 1,)."""
        chosen = self.bonafide == bonafide
        return draws.rate(self.right, chosen, self.speakers, draw_seeds=draw_seeds)

    def balanced(self, draws: Draws, draw_seeds: bool = True) -> np.ndarray:
        """Mean of the accuracies of both classes (R + 1,)."""
        spoof, bonafide = (self.of_class(draws, c, draw_seeds) for c in (False, True))
        return 0.5 * (spoof + bonafide)

    def balanced_by_seed(self) -> np.ndarray:
        """Balanced accuracy of each training seed in percent (K,)."""
        spoof, bonafide = (self.right[:, self.bonafide == c].mean(axis=1) for c in (False, True))
        return np.asarray(50.0 * (spoof + bonafide))
