"""Measures of countermeasure scores with their intervals, the same for every command.

`cm_score` (one score file) and `cm_report` (many) take their numbers from here, so that one score
file has one interval. Rows are those of one condition of the long table of
`espnet_ext.report.countermeasure_run`: by seed and trial, with score and right.
"""

from collections.abc import Iterable

import numpy as np

from espnet_ext.cm.scores import AsvScore, by_key
from espnet_ext.errors import InputError
from espnet_ext.metrics.bootstrap import Draws, Interval, equal_error, interval
from espnet_ext.metrics.cllr import cllr_terms
from espnet_ext.metrics.eer import equal_error_rate
from espnet_ext.metrics.tdcf import (
    MIN_DCF,
    Coefficients,
    VerificationErrors,
    coefficients,
    min_tdcf,
    normalised_cost,
    verification_errors,
)
from espnet_ext.report.countermeasure_run import Rows, TrialTable
from espnet_ext.report.results import Costs, Curves, Rates

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
        self, trials: TrialTable, resamples: int, weights: Coefficients | None = None
    ) -> None:
        self.draws, self.weights = Draws(int(trials.unit.max()) + 1, resamples), weights

    def share(
        self,
        rows: Rows,
        over: np.ndarray | None = None,
        counted: np.ndarray | None = None,
        *,
        seeds: bool = True,
    ) -> np.ndarray:
        """Share of counted trials in percent, for every draw (R + 1,).

        Args:
            rows: of a condition, K training seeds of N trials.
            over: which trials it is the share of, (K, N) or (N,); all if not given.
            counted: 1.0 or 0.0 (K, N); those with the right answer if not given.
            seeds: draw training seeds as well; otherwise they are pooled.
        """
        counted = rows.right if counted is None else counted
        over = np.ones(counted.shape) if over is None else over.astype(np.float64)
        return self.draws.ratio(counted * over, over, rows.trials.unit, draw_seeds=seeds)

    def rates(self, rows: Rows) -> Rates:
        """Accuracies at the operating point."""
        spoof, real = (self.share(rows, rows.trials.bonafide == kind) for kind in (False, True))
        return {
            "balanced_accuracy": interval(0.5 * (spoof + real)),
            "accuracy": interval(self.share(rows)),
            "bonafide_accuracy": interval(real),
            "spoof_accuracy": interval(spoof),
            "spoof_accept_rate": interval(100.0 - spoof),
        }

    def difference(self, first: Rows, second: Rows) -> np.ndarray:
        """Draws of balanced accuracy of the first less that of the second, paired, seeds pooled."""
        bonafide, balanced = first.trials.bonafide, []
        for rows in (first, second):
            spoof, real = (self.share(rows, c, seeds=False) for c in (~bonafide, bonafide))
            balanced.append(0.5 * (spoof + real))
        return balanced[0] - balanced[1]

    def costs(self, rows: Rows) -> Costs:
        """What needs no operating point; t-DCFs where there are weights."""
        (_, bonafide, _, units), scores, _ = rows
        costs = {"min_dcf": MIN_DCF} | ({"tandem": self.weights} if self.weights else {})

        def _measured(miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
            lowest = [normalised_cost(miss, false_alarm, w).min(axis=1) for w in costs.values()]
            return np.stack([equal_error(miss, false_alarm), *lowest])

        drawn = self.draws.curve(scores, bonafide, units, _measured)
        exact = [
            [_rate(row, bonafide)]
            + [min_tdcf(row[bonafide], row[~bonafide], w).value for w in costs.values()]
            for row in scores
        ]
        eer, min_dcf, *tandem = map(interval, drawn, np.mean(exact, axis=0).tolist())
        bits = cllr_terms(scores, bonafide)
        real, spoof = (self.share(rows, bonafide == kind, bits) for kind in (True, False))
        cllr = interval(0.005 * (real + spoof))  # shares are in percent
        found: Costs = {"eer": eer, "min_dcf": min_dcf, "cllr": cllr}
        if self.weights is not None:
            found["min_tdcf_2019"] = first = tandem[0]
            # The two forms differ by a shift and a scale, see `espnet_ext.metrics.tdcf`.
            c0, least = self.weights.c0, min(self.weights.c1, self.weights.c2)
            found["min_tdcf_2021"] = first.map(lambda v: (c0 + least * v) / (c0 + least))
        return found

    def curves(self, rows: Rows) -> Curves:
        """The same, and equal error rates by training seed and by kind of spoof."""
        (_, bonafide, attacks, units), scores, _ = rows

        def _eer(chosen: np.ndarray) -> Interval:
            some, real = scores[:, chosen], bonafide[chosen]
            drawn = self.draws.curve(some, real, units[chosen], equal_error)
            return interval(drawn, float(np.mean([_rate(row, real) for row in some])))

        return {
            **self.costs(rows),
            "eer_by_seed": [_rate(row, bonafide) for row in scores],
            "eer_by_attack": {
                str(kind): _eer(bonafide | (attacks == kind))
                for kind in np.unique(attacks[~bonafide])
            },
        }


def _rate(row: np.ndarray, bonafide: np.ndarray) -> float:
    return 100.0 * equal_error_rate(row[bonafide], row[~bonafide]).rate


def balanced_by_seed(rows: Rows) -> np.ndarray:
    """Balanced accuracy of each training seed in percent (K,)."""
    bonafide = rows.trials.bonafide
    spoof, real = (rows.right[:, chosen].mean(axis=1) for chosen in (~bonafide, bonafide))
    return np.asarray(50.0 * (spoof + real))


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
