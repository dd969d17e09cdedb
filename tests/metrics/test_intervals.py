import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_ext.metrics.intervals import Interval, draw_counts, rate, rate_difference

UTTERANCES = st.lists(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=5,
    max_size=30,
)
CLUSTERED = [0] * 20 + [1] * 20 + [0] * 20 + [1] * 20
SPEAKERS = [number // 10 for number in range(80)]


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_the_rate_is_a_sum_over_a_sum():
    assert rate([1, 0, 3], [2, 8, 10]).value == 20.0
    assert rate([3, 3], [2, 2]).value == 150.0


@pytest.mark.parametrize(
    ("confidence", "low", "high"), [(0.95, 0.0, 100.0), (0.4, 50.0, 50.0), (0.6, 0.0, 100.0)]
)
def test_two_utterances_worked_by_hand(confidence, low, high):
    """Resamples have rates of 0, 50 and 100 with probabilities of 1/4, 1/2 and 1/4."""
    assert rate([0, 1], [1, 1], confidence=confidence) == Interval(50.0, low, high)


def test_many_utterances_are_as_the_normal_approximation_has_it():
    low, high = rate([0, 1] * 200, [1] * 400)[1:]
    assert low == pytest.approx(50 - 4.9, abs=0.6) and high == pytest.approx(50 + 4.9, abs=0.6)


def test_a_constant_rate_has_no_width():
    assert rate([1, 2, 3], [2, 4, 6]) == Interval(50.0, 50.0, 50.0)
    assert rate([0, 0], [5, 5]) == Interval(0.0, 0.0, 0.0)


@settings(deadline=None, max_examples=25)
@given(UTTERANCES)
def test_the_interval_holds_the_value_and_shrinks_with_more_of_the_same(utterances):
    counts, units = zip(*utterances, strict=True)
    few = rate(counts, units)
    assert 0.0 <= few.low <= few.value + 1e-9 and few.value <= few.high + 1e-9
    many = rate(counts * 9, units * 9)
    assert many.value == pytest.approx(few.value)
    assert width(many) <= 0.6 * width(few) + 1e-9


def test_more_confidence_is_wider():
    widths = [width(rate(CLUSTERED, [1] * 80, confidence=c)) for c in (0.5, 0.9, 0.99)]
    assert widths == sorted(widths) and widths[0] < widths[2]


def test_the_seed_decides_the_interval():
    data = np.random.default_rng(0).uniform(0, 1, (2, 40))
    assert rate(*data, seed=1) == rate(*data, seed=1)
    assert rate(*data, seed=1).value == rate(*data, seed=2).value
    assert rate(*data, seed=1) != rate(*data, seed=2)


def test_the_global_generator_is_left_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    rate([0, 1], [1, 1])
    assert np.random.random() == expected


def test_speakers_are_drawn_as_a_whole():
    by_utterance, by_speaker = rate(CLUSTERED, [1] * 80), rate(CLUSTERED, [1] * 80, SPEAKERS)
    assert by_speaker.value == by_utterance.value
    assert width(by_speaker) > 2 * width(by_utterance)


def test_speakers_that_are_alike_give_narrow_intervals():
    alike = rate([0, 1] * 40, [1] * 80, SPEAKERS)
    assert alike == Interval(50.0, 50.0, 50.0)


def test_names_and_order_of_groups_mean_nothing():
    a = rate([1, 0, 2], [3, 3, 3], ["x", "y", "x"])
    b = rate([0, 2, 1], [3, 3, 3], [7, 9, 9])
    assert (a.value, width(a)) == (b.value, width(b))


def test_one_group_leaves_the_interval_undefined():
    assert rate([1], [4]) == Interval(25.0, None, None)
    assert rate([1, 1], [2, 2], ["a", "a"]) == Interval(50.0, None, None)


def test_nothing_to_count_over_is_refused():
    for counts, units in (([], []), ([0, 0], [0, 0])):
        with pytest.raises(ValueError, match="counted over"):
            rate(counts, units)


@settings(deadline=None, max_examples=20)
@given(UTTERANCES)
def test_a_system_does_not_differ_from_itself(utterances):
    counts, units = zip(*utterances, strict=True)
    assert rate_difference((counts, counts), (units, units)) == Interval(0.0, 0.0, 0.0)


def test_pairing_takes_out_what_both_find_hard():
    hard = np.arange(50) % 7
    worse = rate_difference((hard + 1, hard), ([10] * 50, [10] * 50))
    assert worse == (pytest.approx(10), pytest.approx(10), pytest.approx(10))
    assert width(rate(hard, [10] * 50)) > 5


def test_the_difference_is_of_the_first_less_the_second():
    found = rate_difference(([1, 2, 0, 1], [0, 0, 0, 1]), ([2] * 4, [4] * 4))
    assert found.value == pytest.approx(100 * (4 / 8 - 1 / 16))
    back = rate_difference(([0, 0, 0, 1], [1, 2, 0, 1]), ([4] * 4, [2] * 4))
    assert back == pytest.approx((-found.value, -found.high, -found.low))


def test_differences_draw_speakers_as_well():
    nothing = [0] * 80
    by_speaker = rate_difference((CLUSTERED, nothing), ([1] * 80, [1] * 80), SPEAKERS)
    assert width(by_speaker) > 2 * width(rate_difference((CLUSTERED, nothing), ([1] * 80,) * 2))


def test_systems_that_are_not_paired_are_refused():
    with pytest.raises(ValueError, match=r"not paired: \[2, 2, 3, 3\] utterances"):
        rate_difference(([0, 1], [0, 1, 0]), ([1, 1], [1, 1, 1]))


@pytest.mark.parametrize(
    "lengths",
    [
        (2, 1),
        (3, 2),
        (1, 2),
    ],
)
def test_counts_without_units_are_refused(lengths):
    with pytest.raises(ValueError):
        rate([1] * lengths[0], [1] * lengths[1])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_second_system_without_units_is_refused():
    with pytest.raises(ValueError, match="counted over"):
        rate_difference(([1, 1], [1, 1]), ([1, 1], [0, 0]))


def test_groups_may_be_pairs():
    groups = [("a", 1), ("a", 2), ("a", 1)]
    assert rate([1, 0, 2], [3, 3, 3], groups) == rate([1, 0, 2], [3, 3, 3], ["x", "y", "x"])


RUNS = [0] * 80 + [1] * 80 + [2] * 80
UTTERANCES_OF_RUNS = [*range(80)] * 3


def test_the_rate_of_several_runs_is_over_all_of_them():
    easy, hard = [0] * 80, [1] * 80
    found = rate(easy + easy + hard, [1] * 240, UTTERANCES_OF_RUNS, RUNS)
    assert found.value == pytest.approx(100 / 3)


def test_runs_that_differ_widen_the_interval_as_the_draws_of_three_have_it():
    """All utterances alike: only the runs vary, of which all three are equal in 1 draw of 27."""
    found = rate([0] * 160 + [1] * 80, [1] * 240, UTTERANCES_OF_RUNS, RUNS)
    assert found[1:] == (0.0, 100.0)
    # The third run is not among the draws in 8 of 27, and is all of them in 1 of 27.
    narrow = rate([0] * 160 + [1] * 80, [1] * 240, UTTERANCES_OF_RUNS, RUNS, confidence=0.9)
    assert narrow[1:] == (0.0, pytest.approx(200 / 3))


def test_runs_that_agree_leave_the_interval_of_one_of_them():
    one = rate(CLUSTERED, [1] * 80)
    three = rate(CLUSTERED * 3, [1] * 240, UTTERANCES_OF_RUNS, RUNS)
    assert three.value == one.value
    assert three[1:] == (pytest.approx(one.low, abs=1.3), pytest.approx(one.high, abs=1.3))


def test_one_run_that_is_named_changes_nothing():
    assert rate(CLUSTERED, [1] * 80, range(80), [7] * 80) == rate(CLUSTERED, [1] * 80)


def test_what_is_the_same_in_every_run_cancels_in_a_difference():
    better = [*CLUSTERED, *([3] * 80), *([0] * 80)]
    worse = [count + 1 for count in better]
    found = rate_difference((worse, better), ([1] * 240,) * 2, UTTERANCES_OF_RUNS, RUNS)
    assert tuple(found) == pytest.approx((100.0, 100.0, 100.0))
    assert width(rate(better, [1] * 240, UTTERANCES_OF_RUNS, RUNS)) > 100


@pytest.mark.parametrize("groups", [[*range(80)] * 2 + [*range(1, 81)], None])
def test_runs_of_other_utterances_are_refused(groups):
    with pytest.raises(ValueError, match="same utterances"):
        rate([0] * 240, [1] * 240, groups, RUNS)


def test_draws_count_as_many_things_as_there_are():
    drawn = draw_counts(5, 100, np.random.default_rng(0))
    assert drawn.shape == (100, 5) and (drawn.sum(axis=1) == 5).all()
    assert drawn.mean(axis=0) == pytest.approx([1.0] * 5, abs=0.4)
