"""Measures of countermeasure scores with their intervals, the same for every command.

`cm_score` (one score file) and `cm_report` (many) take their numbers from here, so that one score
file has one interval. Rows are those of one condition of the long table of
`espnet_ext.report.countermeasure_run`, sorted by seed and trial.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from espnet_ext.cm.scores import AsvScore, by_key
from espnet_ext.errors import InputError
from espnet_ext.metrics.bootstrap import Draws, interval
from espnet_ext.metrics.cllr import cllr_terms
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.metrics.tdcf import (
    MIN_DCF,
    Coefficients,
    VerificationErrors,
    coefficients,
    verification_errors,
)
from espnet_ext.report.results import Costs, Curves, Numbers, Rates
from espnet_ext.report.table import detection, share

COST_DEFINITIONS = {
    "min_dcf": "normalised minimum detection cost of ASVspoof 5: prior of spoofs 0.05, cost of a "
    "miss 1, of a false alarm 10; 0 is perfect, 1 useless",
    "cllr": "cost of log-likelihood ratios in bits, as in the evaluation package of ASVspoof 5; 0 "
    "is perfect, 1 what always answering 0 has. It needs calibrated log-likelihood ratios; scores "
    "are taken as they are, and what calibration would gain counts as an error",
}


class Measures:
    """All measures of a report, from the same draws, so that any two are paired.

    Args:
        trials: of the evaluation set.
        resamples: draws of the bootstrap.
        weights: of the t-DCF.
    """

    def __init__(
        self, trials: pd.DataFrame, resamples: int, weights: Coefficients | None = None
    ) -> None:
        self.draws, self.weights = Draws(int(trials["unit"].max()) + 1, resamples), weights

    def classes(
        self, rows: pd.DataFrame, counted: np.ndarray | pd.Series, *, pooled: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws of the share that is counted of spoofs, and of bona fide trials, in percent.

        Args:
            rows: of a condition.
            counted: a number for each row.
            pooled: do not draw training seeds.
        """
        spoof, real = (
            share(rows, counted * among, among, self.draws, pooled=pooled)
            for among in (~rows["bonafide"], rows["bonafide"])
        )
        return spoof, real

    def rates(self, rows: pd.DataFrame) -> Rates:
        """Accuracies at the operating point."""
        spoof, real = self.classes(rows, rows["right"])
        return {
            "balanced_accuracy": interval(0.5 * (spoof + real)),
            "accuracy": interval(share(rows, rows["right"], np.ones(len(rows)), self.draws)),
            "bonafide_accuracy": interval(real),
            "spoof_accuracy": interval(spoof),
            "spoof_accept_rate": interval(100.0 - spoof),
        }

    def difference(self, first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
        """Draws of balanced accuracy of the first less that of the second, paired, seeds pooled."""
        balanced = [
            0.5 * sum(self.classes(rows, rows["right"], pooled=True)) for rows in (first, second)
        ]
        return np.asarray(balanced[0] - balanced[1])

    def costs(self, rows: pd.DataFrame) -> Costs:
        """What needs no operating point; t-DCFs where there are weights."""
        # minDCF is the t-DCF of 2019 with weights of its own, see `espnet_ext.metrics.tdcf`.
        weights = [MIN_DCF, *([self.weights] if self.weights else [])]
        eer, min_dcf, *tandem = detection(rows, rows["bonafide"], self.draws, weights)
        bits = cllr_terms(rows["score"].to_numpy(), rows["bonafide"].to_numpy())
        spoof, real = self.classes(rows, bits)
        cllr = interval(0.005 * (real + spoof))  # shares are in percent
        found: Costs = {"eer": eer, "min_dcf": min_dcf, "cllr": cllr}
        if self.weights is not None:
            found["min_tdcf_2019"] = first = tandem[0]
            # The two forms differ by a shift and a scale, see `espnet_ext.metrics.tdcf`.
            c0, least = self.weights.c0, min(self.weights.c1, self.weights.c2)
            found["min_tdcf_2021"] = first.map(lambda v: (c0 + least * v) / (c0 + least))
        return found

    def curves(self, rows: pd.DataFrame) -> Curves:
        """The same, and equal error rates by training seed and by kind of spoof."""
        real = rows["bonafide"]
        by_attack: dict[str, Numbers] = {}
        for kind in sorted({*rows.loc[~real, "attack"]}):
            some = rows[real | (rows["attack"] == kind)]
            by_attack[kind] = detection(some, some["bonafide"], self.draws)[0]
        return {
            **self.costs(rows),
            "eer_by_seed": [
                100.0 * equal_error_rate(*(own.loc[of, "score"] for of in (real, ~real))).rate
                for _, own in rows.groupby("seed", sort=False)
            ],
            "eer_by_attack": by_attack,
        }


def balanced_by_seed(rows: pd.DataFrame) -> np.ndarray:
    """Balanced accuracy of each training seed in percent (K,)."""
    right = rows.groupby(["bonafide", "seed"], sort=False)["right"].mean()
    return np.asarray(50.0 * (right[False] + right[True]))


def tandem_weights(asv: Iterable[AsvScore]) -> tuple[VerificationErrors, Coefficients]:
    """Errors of a speaker verification system at its own EER, and the weights of the t-DCF.

    Raises:
        InputError: they allow no t-DCF.
    """
    asv = list(asv)
    try:
        errors = verification_errors(
            by_key(asv, "target"), by_key(asv, "nontarget"), by_key(asv, "spoof")
        )
        weights = coefficients(errors)
        if min(weights.c1, weights.c2) <= 0.0:
            raise ValueError("the ASV system accepts no spoof, or rejects every target")
    except ValueError as error:
        raise InputError(
            f"ASV scores: {error}; leave out --asv_scores to go without the t-DCF"
        ) from None
    return errors, weights
