import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.metrics.eer import EqualErrorRate, det_curve, equal_error_rate

BONAFIDE = [2.0, 1.5, 1.0, 0.5, -0.5]
SPOOF = [0.8, 0.0, -1.0, -1.2, -2.0, -2.5, -3.0, -3.5, -4.0, -5.0]
ASV_TARGET, ASV_NONTARGET = [3.0, 2.5, 2.0, 1.5, 0.2], [0.5, -0.5, -1.0, -2.0, -3.0]
# Few different values, so that there are many ties.
SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)


def by_hand(target, nontarget):
    """Reject one trial after the other, in plain Python."""
    trials = [(score, 0) for score in target] + [(score, 1) for score in nontarget]
    trials.sort(key=lambda trial: trial[0])  # stable: targets stay first among ties
    points = []
    for k in range(len(trials) + 1):
        miss = sum(1 for _, kind in trials[:k] if kind == 0) / len(target)
        false_alarm = sum(1 for _, kind in trials[k:] if kind == 1) / len(nontarget)
        points.append((miss, false_alarm, trials[k - 1][0] if k else trials[0][0] - 0.001))
    return points


def test_the_worked_example_of_the_countermeasure():
    assert equal_error_rate(BONAFIDE, SPOOF) == (pytest.approx(0.2), -0.5)


def test_the_worked_example_of_the_verifier():
    assert equal_error_rate(ASV_TARGET, ASV_NONTARGET) == (pytest.approx(0.2), 0.2)


def test_the_curve_worked_by_hand():
    curve = det_curve([3.0, 1.0], [2.0, 0.0])
    assert curve.miss.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.false_alarm.tolist() == [1, 0.5, 0.5, 0, 0]
    assert curve.thresholds == pytest.approx([-0.001, 0.0, 1.0, 2.0, 3.0])


def test_targets_are_rejected_first_among_ties():
    curve = det_curve([1.0, 1.0], [1.0, 1.0])
    assert curve.miss.tolist() == [0, 0.5, 1, 1, 1]
    assert curve.false_alarm.tolist() == [1, 1, 1, 0.5, 0]
    assert equal_error_rate([1.0, 1.0], [1.0, 1.0]) == EqualErrorRate(1.0, 1.0)


def test_the_first_of_several_equal_differences_counts():
    # Misses 0, 0.5, 1 and false alarms 1, 1, 0 never meet; |difference| is 0.5 twice.
    found = equal_error_rate([0.0, 2.0], [1.0])
    assert found == EqualErrorRate(0.75, 0.0)


@given(SCORES, SCORES)
def test_it_is_what_plain_counting_gives(target, nontarget):
    points = by_hand(target, nontarget)
    curve = det_curve(target, nontarget)
    assert np.array(points) == pytest.approx(np.stack(curve, axis=1))
    miss, false_alarm, threshold = min(points, key=lambda p: abs(p[0] - p[1]))
    found = equal_error_rate(target, nontarget)
    assert (found.rate, found.threshold) == pytest.approx(((miss + false_alarm) / 2, threshold))


@given(SCORES, SCORES)
def test_the_rate_is_a_share_and_the_curve_is_monotone(target, nontarget):
    curve = det_curve(target, nontarget)
    assert 0.0 <= equal_error_rate(target, nontarget).rate <= 1.0
    assert (curve.miss[0], curve.false_alarm[0]) == (0.0, 1.0)
    assert (curve.miss[-1], curve.false_alarm[-1]) == (1.0, 0.0)
    assert (np.diff(curve.miss) >= 0).all() and (np.diff(curve.false_alarm) <= 0).all()


@given(SCORES, SCORES, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_a_monotone_transformation_of_the_scores_changes_nothing(target, nontarget, scale, shift):
    def cubed(scores):
        return [scale * score**3 + shift for score in scores]

    before, after = (
        equal_error_rate(target, nontarget),
        equal_error_rate(*map(cubed, (target, nontarget))),
    )
    assert after.rate == before.rate
    if before.threshold in [*target, *nontarget]:
        assert after.threshold == cubed([before.threshold])[0]


@given(SCORES, SCORES)
def test_the_order_of_trials_means_nothing(target, nontarget):
    assert equal_error_rate(target[::-1], nontarget[::-1]) == equal_error_rate(target, nontarget)


def test_separated_scores_have_no_errors():
    assert equal_error_rate([1.0, 2.0], [-1.0, 0.0]) == EqualErrorRate(0.0, 0.0)
    assert equal_error_rate([-1.0, 0.0], [1.0, 2.0]).rate == 1.0


@pytest.mark.parametrize(
    ("target", "nontarget", "message"),
    [
        ([], [1.0], "needs target trials"),
        ([1.0], [], "needs non-target trials"),
        ([1.0, float("nan")], [1.0], "a target score is not a finite number"),
        ([1.0], [float("inf")], "a non-target score is not a finite number"),
    ],
)
@pytest.mark.parametrize("function", [det_curve, equal_error_rate])
def test_scores_without_meaning_are_refused(function, target, nontarget, message):
    with pytest.raises(ValueError, match=message):
        function(target, nontarget)
