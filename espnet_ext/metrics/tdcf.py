"""Detection costs of a countermeasure: in tandem with speaker verification (t-DCF), and alone.

Two forms are in use, and their values must not be mixed in a table:

- 2019 (v1): Kinnunen et al., "t-DCF: a detection cost function for the tandem assessment of
  spoofing countermeasures and automatic speaker verification", Odyssey 2018, as in the
  evaluation package of ASVspoof 2019. 0 is a perfect countermeasure.
- 2021 (v2): Kinnunen et al., "Tandem assessment of spoofing countermeasures and automatic
  speaker verification: fundamentals", TASLP 2020, as in the evaluation package of
  ASVspoof 2021. Its lowest value is `c0 / (c0 + min(c1, c2))`, which is not 0.

With one cost for misses, and one for false alarms of each kind, both have the same c1 and
c2, and `v2 = (c0 + min(c1, c2) * v1) / (c0 + min(c1, c2))`.

The minDCF of ASVspoof 5 is of the countermeasure alone: the 2019 form with the weights `MIN_DCF`.
`a_dcf` is of whatever decides on trials, with both systems or with one.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from espnet_ext.metrics.eer import checked, det_curve, equal_error_rate

Version = Literal["2019", "2021"]
VERSIONS: tuple[Version, ...] = ("2019", "2021")


@dataclass(frozen=True)
class CostModel:
    """Priors and costs; the defaults are those of ASVspoof 2019 and 2021.

    Attributes:
        spoof: prior of a spoofing attack.
        target: prior of the claimed speaker.
        nontarget: prior of another speaker who does not spoof.
        miss: cost of rejecting the claimed speaker, by either system.
        false_alarm: cost of the verification system accepting another speaker.
        false_alarm_spoof: cost of accepting a spoof.
    """

    spoof: float = 0.05
    # 99 of 100 trials without spoofing are of the claimed speaker.
    target: float = 0.95 * 0.99
    nontarget: float = 0.95 * 0.01
    miss: float = 1.0
    false_alarm: float = 10.0
    false_alarm_spoof: float = 10.0

    def __post_init__(self) -> None:
        # Products of decimal fractions do not add up to 1 in binary.
        if abs(self.spoof + self.target + self.nontarget - 1.0) > 1e-9:
            raise ValueError("the priors of spoof, target and nontarget must add up to 1")


class VerificationErrors(NamedTuple):
    """Errors of a speaker verification system at one threshold, fractions of 1.

    Attributes:
        miss: rejected target trials.
        false_alarm: accepted non-target trials.
        false_alarm_spoof: accepted spoof trials.
        threshold: scores at or above it are accepted.
    """

    miss: float
    false_alarm: float
    false_alarm_spoof: float
    threshold: float


class Coefficients(NamedTuple):
    """Weights of the t-DCF: c0 of the verification system alone, c1 of misses, c2 of spoofs."""

    c0: float
    c1: float
    c2: float


MIN_DCF = Coefficients(c0=0.0, c1=0.95 * 1.0, c2=0.05 * 10.0)
"""Of minDCF, ASVspoof 5, track 1: prior of spoofs 0.05, cost of a miss 1, of a false alarm 10.

Source: `calculate_minDCF_EER_CLLR` and `compute_mindcf` of the evaluation package of ASVspoof 5
(github.com/asvspoof-challenge/asvspoof5), which divides by the smaller of both weights, as here.

Example:
    >>> min_tdcf([2.0, 1.0], [0.0, 1.5], MIN_DCF).value
    0.5
"""


class TandemCost(NamedTuple):
    """A normalised t-DCF and the countermeasure threshold it is reached at."""

    value: float
    threshold: float


def verification_errors(
    target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike, threshold: float | None = None
) -> VerificationErrors:
    """Errors of the speaker verification system, by default at its own EER threshold.

    Source: `obtain_asv_error_rates` of the evaluation packages: the threshold is where
    `equal_error_rate` of targets and non-targets has it, but a score at it is accepted, one
    trial off from `det_curve`, which rejects it.

    Args:
        target: scores of the claimed speakers (N_t,).
        nontarget: scores of other speakers (N_n,).
        spoof: scores of the spoofs (N_s,).
        threshold: another operating point.

    Raises:
        ValueError: a kind of trial has no scores, or a score is not finite.
    """
    if threshold is None:
        threshold = equal_error_rate(target, nontarget).threshold
    return VerificationErrors(
        # Here a score at the threshold is accepted, see above.
        float(np.mean(checked(target, "target") < threshold)),
        float(np.mean(checked(nontarget, "non-target") >= threshold)),
        float(np.mean(checked(spoof, "spoof") >= threshold)),
        threshold,
    )


def coefficients(errors: VerificationErrors, costs: CostModel | None = None) -> Coefficients:
    """Weights of the t-DCF from the errors of the verification system.

    Raises:
        ValueError: c1 or c2 is negative: the verification system costs more than rejecting
            everybody would, so that a tandem has no meaning.
    """
    costs = costs or CostModel()
    c0 = costs.target * costs.miss * errors.miss
    c0 += costs.nontarget * costs.false_alarm * errors.false_alarm
    c1 = costs.target * costs.miss - c0
    c2 = costs.spoof * costs.false_alarm_spoof * errors.false_alarm_spoof
    if min(c1, c2) < 0.0:
        raise ValueError(f"negative t-DCF weights (c1 {c1:g}, c2 {c2:g}): check the ASV scores")
    return Coefficients(c0, c1, c2)


def min_tdcf(
    bonafide: ArrayLike, spoof: ArrayLike, weights: Coefficients, version: Version = "2019"
) -> TandemCost:
    """The lowest normalised t-DCF over all thresholds; 1 is a useless countermeasure.

    Args:
        bonafide: countermeasure scores (N_b,), higher for bona fide.
        spoof: countermeasure scores (N_s,).
        weights: see `coefficients`.
        version: form of the t-DCF, see the top of this module.

    Raises:
        ValueError: a class has no scores, a score is not finite, or see `normalised_cost`.

    Example:
        >>> weights = Coefficients(c0=0.019, c1=0.9215, c2=0.375)
        >>> min_tdcf([2.0, 1.0], [0.0, 1.5], weights)
        TandemCost(value=0.5, threshold=0.0)
    """
    curve = det_curve(bonafide, spoof)
    costs = normalised_cost(curve.miss, curve.false_alarm, weights, version)
    best = int(np.argmin(costs))
    return TandemCost(float(costs[best]), float(curve.thresholds[best]))


def normalised_cost(
    miss: np.ndarray, false_alarm: np.ndarray, weights: Coefficients, version: Version = "2019"
) -> np.ndarray:
    """Normalised t-DCF of a countermeasure with these errors.

    Args:
        miss: shares of rejected bona fide trials, of any shape.
        false_alarm: shares of accepted spoofs, of the same shape.
        weights: see `coefficients`.
        version: form of the t-DCF, see the top of this module.

    Raises:
        ValueError: an unknown form, or the verification system accepts no spoof at all, so
            that the 2019 form is not defined.
    """
    c0, c1, c2 = weights
    if version not in VERSIONS:
        raise ValueError(f"t-DCF of '{version}'; known are 2019 and 2021")
    # The 2019 form leaves out what the verification system costs whatever the countermeasure does.
    fixed = c0 if version == "2021" else 0.0
    default = fixed + min(c1, c2)
    if default <= 0.0:
        raise ValueError(
            "the normalised t-DCF is not defined: the verification system accepts no spoof (c2 = 0)"
            " or rejects every target (c1 = 0)"
        )
    return (fixed + c1 * miss + c2 * false_alarm) / default


def a_dcf(
    miss: np.ndarray,
    false_alarm: np.ndarray,
    false_alarm_spoof: np.ndarray,
    costs: CostModel | None = None,
) -> np.ndarray:
    """Normalised architecture-agnostic detection cost (a-DCF) of decisions; 1 is useless.

    Source: Shim et al., "a-DCF: an architecture agnostic metric with application to
    spoofing-robust speaker verification", Odyssey 2024: at the thresholds of the systems, not the
    lowest over all of them. It divides by the smaller cost of rejecting and of accepting everybody,
    so it may be above 1.

    Args:
        miss: shares of rejected target trials, of any shape.
        false_alarm: shares of accepted non-target trials, of the same shape.
        false_alarm_spoof: shares of accepted spoofs, of the same shape.
        costs: priors and costs, by default those of `CostModel`, which ASVspoof 5 has as well.

    Example:
        >>> float(a_dcf(np.array(0.0), np.array(0.0), np.array(1.0)).round(3))
        0.84
    """
    costs = costs or CostModel()
    # The costs of rejecting every target, and of accepting every other speaker and every spoof.
    rejected = costs.target * costs.miss
    impostors = costs.nontarget * costs.false_alarm
    spoofs = costs.spoof * costs.false_alarm_spoof
    cost = rejected * miss + impostors * false_alarm + spoofs * false_alarm_spoof
    return cost / min(rejected, impostors + spoofs)
