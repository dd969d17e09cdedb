"""Cost of log-likelihood ratios (Cllr), as the evaluation package of ASVspoof 5 has it."""

import math

import numpy as np


def cllr_terms(scores: np.ndarray, bonafide: np.ndarray) -> np.ndarray:
    """What each trial adds to Cllr, in bits: `log2(1 + exp(-s))` if bona fide, else of `exp(s)`.

    Cllr is the mean of the means of both classes. It needs calibrated log-likelihood ratios and
    counts what is lost by calibration as an error: 0 is perfect, 1 what a score of 0 for every
    trial would have, and there is no upper end.

    Source: Bruemmer and du Preez, "Application-independent evaluation of speaker detection",
    Computer Speech and Language 2006; `calculate_CLLR` of the evaluation package of ASVspoof 5.

    Args:
        scores: log-likelihood ratios (..., N), higher for bona fide.
        bonafide: which trials are (N,).

    Example:
        >>> cllr_terms(np.zeros(2), np.array([True, False])).tolist()
        [1.0, 1.0]
    """
    # No overflow, however sure a wrong score is.
    return np.logaddexp(0.0, np.where(bonafide, -scores, scores)) / math.log(2.0)
