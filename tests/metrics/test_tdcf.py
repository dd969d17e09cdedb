import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from espnet_ext.metrics.eer import det_curve
from espnet_ext.metrics.tdcf import (
    MIN_DCF,
    Coefficients,
    CostModel,
    TandemCost,
    VerificationErrors,
    a_dcf,
    coefficients,
    min_tdcf,
    normalised_cost,
    verification_errors,
)

BONAFIDE = [2.0, 1.5, 1.0, 0.5, -0.5]
SPOOF = [0.8, 0.0, -1.0, -1.2, -2.0, -2.5, -3.0, -3.5, -4.0, -5.0]
ASV = ([3.0, 2.5, 2.0, 1.5, 0.2], [0.5, -0.5, -1.0, -2.0, -3.0], [2.2, 1.0, 0.8, -0.3])
# Every value of the official 2021 code on the example above, at ascending thresholds.
OFFICIAL_V1 = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.69147, 0.59147, 1.08293, 0.98293]
OFFICIAL_V1 += [1.4744, 1.96587, 2.45733]

SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)
RATES = st.floats(0.0, 1.0)


@pytest.fixture
def weights():
    return coefficients(verification_errors(*ASV))


def test_errors_of_the_verifier_at_its_own_threshold():
    assert verification_errors(*ASV) == VerificationErrors(0.0, 0.2, 0.75, 0.2)


def test_errors_of_the_verifier_at_another_threshold():
    found = verification_errors(*ASV, threshold=1.0)
    assert found == VerificationErrors(0.2, 0.0, 0.5, 1.0)


def test_a_score_at_the_threshold_is_accepted_by_the_verifier():
    assert verification_errors([1.0], [1.0], [1.0], 1.0)[:3] == (0.0, 1.0, 1.0)
    assert verification_errors([1.0], [1.0], [1.0], 1.0 + 1e-9)[:3] == (1.0, 0.0, 0.0)


def test_weights_of_the_worked_example(weights):
    assert weights == pytest.approx((0.019, 0.9215, 0.375), abs=1e-12)


def test_weights_of_asvspoof_5():
    errors = VerificationErrors(0.0188014, 0.0188102, 0.4607083, 0.0)
    assert coefficients(errors) == pytest.approx((0.0194697, 0.9210303, 0.2303541), abs=1e-6)


def test_the_lowest_cost_of_the_worked_example(weights):
    assert min_tdcf(BONAFIDE, SPOOF, weights) == (pytest.approx(0.2, abs=1e-12), -1.0)
    second = min_tdcf(BONAFIDE, SPOOF, weights, "2021")
    assert second == (pytest.approx((0.019 + 0.075) / 0.394, abs=1e-12), -1.0)
    assert second.value == pytest.approx(0.2385787, abs=1e-6)


def test_the_whole_curve_of_the_worked_example(weights):
    curve = det_curve(BONAFIDE, SPOOF)
    costs = normalised_cost(curve.miss, curve.false_alarm, weights)
    assert costs == pytest.approx(OFFICIAL_V1, abs=5e-6)


@given(SCORES, SCORES, st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.01, 1))
def test_the_two_forms_agree(bonafide, spoof, miss, false_alarm, accepted_spoofs):
    weights = coefficients(VerificationErrors(miss, false_alarm, accepted_spoofs, 0.0))
    least = min(weights.c1, weights.c2)
    first = min_tdcf(bonafide, spoof, weights)
    second = min_tdcf(bonafide, spoof, weights, "2021")
    assert second.value == pytest.approx((weights.c0 + least * first.value) / (weights.c0 + least))
    # The curves are one another's up to scale and shift: equal costs may round differently.
    curve = det_curve(bonafide, spoof)
    costs = normalised_cost(curve.miss, curve.false_alarm, weights)
    at = costs[curve.thresholds == second.threshold]
    assert at.min() == pytest.approx(first.value)


@given(RATES, RATES, RATES)
def test_the_weights_are_those_that_the_2019_code_spells_out(miss, false_alarm, accepted_spoofs):
    target, nontarget, spoof = 0.9405, 0.0095, 0.05
    c1 = target * (1 - 1 * miss) - nontarget * 10 * false_alarm
    c2 = 10 * spoof * (1 - (1 - accepted_spoofs))
    assume(c1 >= 0)
    found = coefficients(VerificationErrors(miss, false_alarm, accepted_spoofs, 0.0))
    assert (found.c1, found.c2) == pytest.approx((c1, c2), abs=1e-12)


@given(SCORES, SCORES, st.sampled_from(["2019", "2021"]))
def test_the_lowest_cost_is_at_most_one(bonafide, spoof, version):
    for weights in (Coefficients(0.019, 0.9215, 0.375), Coefficients(0.1, 0.2, 0.9)):
        found = min_tdcf(bonafide, spoof, weights, version).value
        floor = 0.0 if version == "2019" else weights.c0 / (weights.c0 + min(weights[1:]))
        assert floor - 1e-12 <= found <= 1.0 + 1e-12


@given(SCORES, SCORES)
def test_a_monotone_transformation_of_the_scores_changes_nothing(bonafide, spoof):
    weights = Coefficients(0.019, 0.9215, 0.375)
    cubed = [[2.0 * score**3 - 1.0 for score in scores] for scores in (bonafide, spoof)]
    assert min_tdcf(*cubed, weights).value == min_tdcf(bonafide, spoof, weights).value


def test_perfect_and_useless_countermeasures(weights):
    assert min_tdcf([1.0, 2.0], [-1.0], weights).value == 0.0
    floor = 0.019 / 0.394
    assert min_tdcf([1.0, 2.0], [-1.0], weights, "2021").value == pytest.approx(floor)
    for version in ("2019", "2021"):
        assert min_tdcf([0.0] * 3, [0.0] * 3, weights, version).value == 1.0


def test_other_costs():
    costs = CostModel(spoof=0.5, target=0.25, nontarget=0.25, false_alarm=2, false_alarm_spoof=4)
    found = coefficients(VerificationErrors(0.1, 0.2, 0.3, 0.0), costs)
    assert found == pytest.approx((0.125, 0.125, 0.6))


def test_priors_that_are_none_are_refused():
    with pytest.raises(ValueError, match="add up to 1"):
        CostModel(spoof=0.5)


def test_a_verifier_worse_than_none_is_refused():
    with pytest.raises(ValueError, match=r"negative t-DCF weights .* check the ASV scores"):
        coefficients(VerificationErrors(0.99, 0.99, 0.5, 0.0))


def test_a_verifier_that_accepts_no_spoof():
    weights = coefficients(VerificationErrors(0.1, 0.1, 0.0, 0.0))
    with pytest.raises(ValueError, match="accepts no spoof"):
        min_tdcf(BONAFIDE, SPOOF, weights)
    assert min_tdcf(BONAFIDE, SPOOF, weights, "2021") == TandemCost(1.0, pytest.approx(-5.001))


def test_an_unknown_form_is_refused(weights):
    with pytest.raises(ValueError, match="known are 2019 and 2021"):
        min_tdcf(BONAFIDE, SPOOF, weights, "2020")


@given(SCORES, SCORES)
def test_min_dcf_is_the_lowest_cost_over_all_thresholds(bonafide, spoof):
    """By the formula of the evaluation plan of ASVspoof 5, threshold by threshold."""
    lowest = min(
        1.0 * (1 - 0.05) * sum(s <= t for s in bonafide) / len(bonafide)
        + 10.0 * 0.05 * sum(s > t for s in spoof) / len(spoof)
        for t in [-100.0, *bonafide, *spoof]
    )
    found = min_tdcf(bonafide, spoof, MIN_DCF).value
    normalised = lowest / min(1.0 * (1 - 0.05), 10.0 * 0.05)
    # Ties count against the system: an integer grid has many.
    assert found <= normalised + 1e-12
    curve = det_curve(bonafide, spoof)
    _, last = np.unique(curve.thresholds[::-1], return_index=True)
    apart = len(curve.thresholds) - 1 - last
    costs = normalised_cost(curve.miss[apart], curve.false_alarm[apart], MIN_DCF)
    assert costs.min() == pytest.approx(normalised)


def test_a_dcf_is_that_of_rejecting_or_accepting_everybody():
    # Accepting all is the cheaper one: 10 * 0.0095 + 10 * 0.05 against 0.9405.
    errors = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.2, 0.1, 0.5]])
    found = a_dcf(*errors.T)
    expected = [0.0, 0.9405 / 0.595, 1.0, (0.9405 * 0.2 + 0.095 * 0.1 + 0.5 * 0.5) / 0.595]
    assert found.tolist() == pytest.approx(expected)
    cheap = CostModel(spoof=0.5, target=0.5, nontarget=0.0, false_alarm_spoof=1.0)
    assert a_dcf(*errors.T, cheap).tolist() == pytest.approx([0.0, 1.0, 1.0, 0.7])
