import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.metrics.classification import (
    accuracy,
    attack_eers,
    attack_success_rate,
    balanced_accuracy,
    balanced_accuracy_difference,
    class_accuracy,
    decide,
    spoof_accept_rate,
)
from espnet_ext.metrics.eer import det_curve, equal_error_rate

# Nine spoofs to one bona fide trial, the balance of ASVspoof.
LABEL = [0] * 9 + [1]
LA_EVAL = [0] * 63882 + [1] * 7355
SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)


def few(function, *arguments, **options):
    return function(*arguments, resamples=50, **options)


def test_answering_spoof_is_90_percent_right_and_worth_nothing():
    always = [0] * 10
    assert accuracy(LABEL, always).value == 90.0
    assert few(balanced_accuracy, LABEL, always).value == 50.0
    found = class_accuracy(LABEL, always)
    assert (found.spoof.value, found.bonafide.value) == (100.0, 0.0)


def test_answering_spoof_to_all_of_the_official_evaluation_set():
    hits = accuracy(LA_EVAL, [0] * 71237, groups=[n % 2 for n in range(71237)])
    assert hits.value == pytest.approx(89.675, abs=5e-4)


def test_counts_worked_by_hand():
    label, answers = [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]
    assert accuracy(label, answers).value == pytest.approx(400 / 6)
    assert class_accuracy(label, answers)[0].value == 75.0
    assert class_accuracy(label, answers)[1].value == 50.0
    assert few(balanced_accuracy, label, answers).value == 62.5


def test_a_class_without_trials():
    assert class_accuracy([0, 0], [0, 1]).bonafide is None
    with pytest.raises(ValueError, match="needs bona fide trials"):
        balanced_accuracy([0, 0], [0, 1])
    with pytest.raises(ValueError, match="needs spoof trials"):
        balanced_accuracy([1], [1])
    with pytest.raises(ValueError, match="needs spoof trials"):
        spoof_accept_rate([1], [0.5], 0.0)


def test_intervals_draw_speakers():
    label = [0, 1] * 40
    right = [n // 20 % 2 for n in range(80)]
    answers = [c if r else 1 - c for c, r in zip(label, right, strict=True)]
    alone = few(balanced_accuracy, label, answers)
    together = few(balanced_accuracy, label, answers, groups=[n // 20 for n in range(80)])
    assert together.value == alone.value == 50.0
    assert together.high - together.low > 2 * (alone.high - alone.low)
    by_speaker = accuracy(label, answers, [n // 20 for n in range(80)])
    assert (by_speaker.low, by_speaker.high) == (0.0, 100.0)


def test_a_difference_is_paired():
    label = [0, 1] * 30
    first = [c if n % 5 else 1 - c for n, c in enumerate(label)]
    assert few(balanced_accuracy_difference, label, first, first) == (0.0, 0.0, 0.0)
    found = few(balanced_accuracy_difference, label, label, [0] * 60)
    assert found == (50.0, 50.0, 50.0)
    assert few(balanced_accuracy_difference, label, [0] * 60, label).value == -50.0


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


def test_the_spoof_accept_rate_counts_spoofs_alone():
    found = spoof_accept_rate([0, 0, 0, 0, 1, 1], [2.0, 1.0, 0.0, -1.0, -9.0, 9.0], 0.5)
    assert found.value == 50.0
    assert spoof_accept_rate([0, 1], [0.5, 0.6], 0.5).value == 0.0


def test_success_of_an_attack_is_of_the_trials_that_were_right():
    label, clean, attacked = [0, 0, 0, 1, 1], [0, 0, 1, 1, 0], [1, 0, 1, 0, 1]
    assert attack_success_rate(label, clean, attacked).value == pytest.approx(200 / 3)
    assert attack_success_rate(label, label, label).value == 0.0
    assert attack_success_rate([0, 0], [1, 1], [0, 1]) is None


def test_success_of_an_attack_draws_the_speakers_of_those_trials():
    groups = ["a", "a", "b", "b"]
    found = attack_success_rate([0] * 4, [0, 0, 0, 1], [1, 1, 0, 0], groups)
    assert found == (pytest.approx(200 / 3), 0.0, 100.0)


def test_each_attack_stands_against_all_bona_fide_trials():
    scores = [2.0, 1.0, -1.0, -2.0, 1.5, 3.0]
    attacks = ["-", "-", "A08", "A08", "A07", "A07"]
    found = attack_eers(scores, attacks)
    assert list(found) == ["A07", "A08"]
    assert found["A08"].rate == 0.0
    assert found["A07"] == equal_error_rate([2.0, 1.0], [1.5, 3.0])
    assert attack_eers([1.0], ["-"]) == {}


def test_attacks_without_bona_fide_trials_are_refused():
    with pytest.raises(ValueError, match="needs target trials"):
        attack_eers([1.0], ["A07"])
    with pytest.raises(ValueError, match="2 scores, but 1 attacks"):
        attack_eers([1.0, 2.0], ["A07"])


@pytest.mark.parametrize(
    ("label", "answers", "message"),
    [([0, 1], [0], "differ in shape"), ([0, 2], [0, 1], "must be 0"), ([[0]], [[0]], "shape")],
)
def test_labels_that_are_none_are_refused(label, answers, message):
    with pytest.raises(ValueError, match=message):
        accuracy(label, answers)
