import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.metrics.bootstrap import Draws, interval
from espnet_ext.metrics.classification import Answers, decide
from espnet_ext.metrics.eer import det_curve, equal_error_rate

SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)


def answers_of(label, given_answers, groups=None):
    right = (np.array(label) == given_answers).astype(float)[None]
    units = np.arange(len(label)) if groups is None else np.array(groups)
    return Answers(right, np.array(label) == 1, units), Draws(units.max() + 1, resamples=200)


def test_answering_spoof_is_90_percent_right_and_worth_nothing():
    answers, draws = answers_of([0] * 9 + [1], [0] * 10)
    assert answers.accuracy(draws)[0] == 90.0
    assert answers.balanced(draws)[0] == 50.0


def test_intervals_draw_speakers():
    label = [0, 1] * 40
    right = [n // 20 % 2 for n in range(80)]
    given_answers = [c if r else 1 - c for c, r in zip(label, right, strict=True)]
    answers, draws = answers_of(label, given_answers)
    value, low, high = interval(answers.balanced(draws))
    answers, draws = answers_of(label, given_answers, [n // 20 for n in range(80)])
    by_speaker, lowest, highest = interval(answers.balanced(draws))
    assert value == by_speaker == 50.0
    assert highest - lowest > 2 * (high - low)


def test_a_difference_is_paired():
    label = [0, 1] * 30
    first, draws = answers_of(label, [c if n % 5 else 1 - c for n, c in enumerate(label)])
    assert interval(first.balanced(draws) - first.balanced(draws)) == (0.0, 0.0, 0.0)
    constant, _ = answers_of(label, [0] * 60)
    perfect, _ = answers_of(label, label)
    assert interval(perfect.balanced(draws) - constant.balanced(draws)) == (50.0, 50.0, 50.0)


@given(SCORES, SCORES)
def test_the_threshold_of_the_eer_gives_the_two_errors_that_it_averages(bonafide, spoof):
    threshold = equal_error_rate(bonafide, spoof).threshold
    curve = det_curve(bonafide, spoof)
    # Among ties the last of the equal thresholds has rejected them all.
    last = int(np.flatnonzero(curve.thresholds == threshold)[-1])
    assert 1 - decide(bonafide, threshold).mean() == pytest.approx(curve.miss[last])
    assert decide(spoof, threshold).mean() == pytest.approx(curve.false_alarm[last])


def test_a_score_at_the_threshold_is_spoof():
    assert decide([0.9, 1.0, 1.1], 1.0).tolist() == [0, 0, 1]


def test_accuracies_of_answers():
    right = np.array([[1, 1, 0, 0, 1, 1, 1, 1.0]])
    bonafide = np.array([True] * 4 + [False] * 4)
    answers, draws = Answers(right, bonafide, np.arange(8)), Draws(8, resamples=9)
    assert answers.accuracy(draws)[0] == 75.0
    assert answers.of_class(draws, True)[0] == 50.0
    assert answers.of_class(draws, False)[0] == 100.0
    assert answers.balanced(draws)[0] == 75.0
    assert answers.balanced_by_seed().tolist() == [75.0]
