"""Cost of log-likelihood ratios (Cllr), as the evaluation package of ASVspoof 5 has it."""

import math

import numpy as np


def cllr_terms(scores: np.ndarray, bonafide: np.ndarray) -> np.ndarray:
    """What each trial adds to Cllr, in bits: `log2(1 + exp(-s))` if bona fide, else with `exp(s)`.

    Cllr is the mean of the means of both classes. It needs calibrated log-likelihood ratios and
    counts poor calibration as an error: 0 is perfect, 1 is the cost of a score of 0 for every
    trial, and there is no upper bound.

    Source: Bruemmer and du Preez, "Application-independent evaluation of speaker detection",
    Computer Speech and Language 2006; `calculate_CLLR` of the evaluation package of ASVspoof 5.

    Args:
        scores: log-likelihood ratios (..., N), higher for bona fide.
        bonafide: which trials are bona fide (N,).

    Example:
        >>> cllr_terms(np.zeros(2), np.array([True, False])).tolist()
        [1.0, 1.0]
    """
    # No overflow, however sure a wrong score is.
    return np.logaddexp(0.0, np.where(bonafide, -scores, scores)) / math.log(2.0)
