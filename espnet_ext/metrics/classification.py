"""Answers of a countermeasure, and their accuracy by class and under attack.

Classes are numbers: 0 for spoof, 1 for bona fide. Always answering "spoof" has an accuracy of
90 % at ASVspoof's class balance, so plain accuracy is shown beside balanced accuracy only.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from espnet_ext.metrics.bootstrap import Draws


def decide(scores: ArrayLike, threshold: float) -> np.ndarray:
    """Classes (N,) from scores: bona fide *above* the threshold, spoof at or below it.

    With the EER threshold of a set this gives the two error rates that its EER averages.
    """
    return (np.asarray(scores, dtype=np.float64) > threshold).astype(np.int64)


class Answers(NamedTuple):
    """Which trials were answered rightly, by class.

    Attributes:
        right: 1 or 0, of K training seeds and N trials (K, N).
        bonafide: which trials are (N,).
        units: number of the unit of each trial (N,).
    """

    right: np.ndarray
    bonafide: np.ndarray
    units: np.ndarray

    def accuracy(self, draws: Draws, draw_seeds: bool = True) -> np.ndarray:
        """Share of right answers in percent, every draw (R + 1,)."""
        everything = np.ones(len(self.bonafide))
        return draws.ratio(self.right, everything, self.units, draw_seeds=draw_seeds)

    def of_class(self, draws: Draws, bonafide: bool, draw_seeds: bool = True) -> np.ndarray:
        """The same of the trials of one class (R + 1,)."""
        chosen = self.bonafide == bonafide
        return draws.ratio(self.right * chosen, chosen, self.units, draw_seeds=draw_seeds)

    def balanced(self, draws: Draws, draw_seeds: bool = True) -> np.ndarray:
        """Mean of the accuracies of both classes (R + 1,)."""
        spoof, bonafide = (self.of_class(draws, c, draw_seeds) for c in (False, True))
        return 0.5 * (spoof + bonafide)

    def balanced_by_seed(self) -> np.ndarray:
        """Balanced accuracy of each training seed in percent (K,)."""
        spoof, bonafide = (self.right[:, self.bonafide == c].mean(axis=1) for c in (False, True))
        return np.asarray(50.0 * (spoof + bonafide))
