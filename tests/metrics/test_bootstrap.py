import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from espnet_ext.metrics import bootstrap as module
from espnet_ext.metrics.bootstrap import (
    RESAMPLES,
    Draws,
    Interval,
    equal_error,
    holm,
    interval,
    most_tests,
    p_value,
    rate,
    rate_difference,
)
from espnet_ext.metrics.eer import equal_error_rate

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


def test_two_utterances_worked_by_hand():
    """Resamples have rates of 0, 50 and 100 with probabilities of 1/4, 1/2 and 1/4."""
    assert rate([0, 1], [1, 1]) == Interval(50.0, 0.0, 100.0)


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


def test_of_one_run_the_bounds_are_those_of_scipy():
    """Kept results were made with it."""
    errors, words = np.random.default_rng(1).integers((0, 4), (4, 9), (40, 2)).T
    found = stats.bootstrap(
        (errors, words),
        lambda e, w, axis: 100.0 * e.sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert rate(errors, words)[1:] == pytest.approx(tuple(found), rel=1e-12)


@pytest.mark.parametrize("runs", [2, 3])
def test_of_several_runs_the_draws_of_runs_come_first(runs):
    """Kept results were made in this order."""
    draws, generator = Draws(5, resamples=50, runs=runs), np.random.default_rng(0)
    for drawn, count in ((draws.training_seeds(runs), runs), (draws.counts, 5)):
        assert (drawn[1:] == generator.multinomial(count, [1 / count] * count, 50)).all()


UNITS = np.array([0, 0, 1, 1, 2, 2, 2])


def test_the_first_row_takes_everything_once():
    draws = Draws(3, resamples=5)
    right = np.array([[1, 0, 1, 0, 1, 1, 1.0]])
    assert draws.ratio(right, np.ones(7), UNITS)[0] == pytest.approx(500 / 7)
    assert draws.counts.shape == (6, 3) and (draws.counts.sum(axis=1) == 3).all()


def test_the_same_seed_draws_the_same():
    first, second, other = Draws(9), Draws(9), Draws(9, seed=1)
    assert (first.counts == second.counts).all()
    assert (first.training_seeds(3) == second.training_seeds(3)).all()
    assert (first.counts != other.counts).any()
    assert (first.training_seeds(3) != other.training_seeds(3)).any()


def test_units_are_drawn_as_a_whole():
    draws = Draws(2, resamples=200)
    right = np.array([[1.0, 1.0, 0.0, 0.0]])
    rates = draws.ratio(right, np.ones(4), np.array([0, 0, 1, 1]))
    assert set(rates.tolist()) == {0.0, 50.0, 100.0}


def test_rates_are_those_of_the_drawn_trials():
    draws = Draws(3, resamples=20)
    generator = np.random.default_rng(0)
    right = generator.integers(0, 2, (2, 7)).astype(float)
    chosen = np.array([True, False, True, True, True, False, True])
    rates = draws.ratio(right * chosen, chosen, UNITS)
    seeds = draws.training_seeds(2)
    for row, found in enumerate(rates):
        times = draws.counts[row][UNITS] * chosen
        weights = seeds[row][:, None] * times
        assert found == pytest.approx(100 * (weights * right).sum() / weights.sum())


def test_training_seeds_are_pooled_on_demand():
    draws = Draws(2, resamples=50)
    right = np.array([[1.0, 1.0], [0.0, 0.0]])
    everything, speakers = np.ones(2, bool), np.array([0, 1])
    pooled = draws.ratio(right, everything, speakers, draw_seeds=False)
    assert set(pooled.tolist()) == {50.0}
    assert set(draws.ratio(right, everything, speakers).tolist()) == {0.0, 50.0, 100.0}


def test_a_choice_may_differ_by_training_seed():
    draws = Draws(2, resamples=3)
    right = np.array([[1.0, 0.0], [1.0, 0.0]])
    chosen = np.array([[True, False], [True, True]])
    found = draws.ratio(right * chosen, chosen, np.array([0, 1]), draw_seeds=False)
    assert found[0] == pytest.approx(200 / 3)


def test_a_draw_without_the_class_is_left_out():
    draws = Draws(2, resamples=100)
    found = draws.ratio(np.array([[1.0, 0.0]]), np.array([1.0, 0.0]), np.array([0, 1]))
    assert np.isnan(found).any() and interval(found) == (100.0, 100.0, 100.0)


def test_nothing_to_count_has_no_value():
    draws = Draws(2, resamples=9)
    found = draws.ratio(np.ones((1, 2)), np.zeros(2), np.array([0, 1]))
    assert interval(found) == (None, None, None)


def test_one_speaker_gives_no_interval():
    found = Draws(1).ratio(np.array([[1.0, 0.0]]), np.ones(2), np.zeros(2, int))
    assert interval(found) == (50.0, None, None)


def test_an_interval_has_the_percentiles():
    low, high = 2.5, 97.5
    assert interval(np.arange(-1.0, 101.0)) == (-1.0, low, high)
    assert interval(np.arange(-1.0, 101.0), value=7.0) == (7.0, low, high)


@pytest.fixture
def scored():
    """Scores of 60 trials of 6 speakers, two training seeds."""
    generator = np.random.default_rng(5)
    bonafide = np.arange(60) % 3 == 0
    scores = generator.normal(size=(2, 60)) + 1.5 * bonafide
    return scores, bonafide, np.arange(60) // 10


def test_the_first_equal_error_rate_is_that_of_the_official_code(scored):
    scores, bonafide, speakers = scored
    found = Draws(6, resamples=9).curve(scores, bonafide, speakers, equal_error)
    rates = [equal_error_rate(row[bonafide], row[~bonafide]).rate for row in scores]
    assert found[0] == pytest.approx(100 * np.mean(rates))


def test_equal_scores_are_counted_as_in_the_official_code():
    scores = np.array([[1.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0]])
    bonafide = np.array([True, True, True, False, False, False, False])
    found = Draws(2, resamples=1).curve(scores, bonafide, np.arange(7) % 2, equal_error)
    expected = equal_error_rate(scores[0][bonafide], scores[0][~bonafide]).rate
    assert found[0] == pytest.approx(100 * expected)


def test_drawn_equal_error_rates_are_those_of_weighted_trials(scored):
    scores, bonafide, speakers = scored
    draws = Draws(6, resamples=30)
    found = draws.curve(scores[:1], bonafide, speakers, equal_error)
    for times, drawn in zip(draws.counts, found, strict=True):
        weights = times[speakers]
        pairs = []
        for threshold in [-np.inf, *np.sort(scores[0])]:
            below = scores[0] <= threshold
            miss = (weights * (below & bonafide)).sum() / (weights * bonafide).sum()
            accepted = (weights * (~below & ~bonafide)).sum() / (weights * ~bonafide).sum()
            pairs.append((abs(miss - accepted), (miss + accepted) / 2))
        closest = min(gap for gap, _ in pairs)
        assert drawn / 100 in [pytest.approx(v) for gap, v in pairs if gap < closest + 1e-9]


def test_many_units_are_drawn_in_blocks_with_the_same_numbers(scored, monkeypatch):
    scores, bonafide, speakers = scored
    right = (scores > 0) == bonafide

    def numbers():
        draws = Draws(6, resamples=50)
        rates = draws.ratio(right * bonafide * 1.0, bonafide, speakers)
        return draws.counts, rates, draws.curve(scores, bonafide, speakers, equal_error)

    whole = numbers()
    monkeypatch.setattr(module, "BLOCK", 20)
    for found, expected in zip(numbers(), whole, strict=True):
        assert np.array_equal(found, expected)


def test_many_trials_are_thinned_to_ranks_that_are_close(scored, monkeypatch):
    generator = np.random.default_rng(0)
    bonafide = np.arange(3000) % 4 == 0
    scores = generator.normal(size=(1, 3000)) + bonafide
    speakers = np.arange(3000) % 30
    exact, thin = [], []
    for most, rates in ((4000, exact), (300, thin)):
        monkeypatch.setattr(module, "MAX_THRESHOLDS", most)
        rates += Draws(30, 50).curve(scores, bonafide, speakers, equal_error).tolist()
    assert exact == pytest.approx(thin, abs=0.8) and exact != thin


@pytest.mark.parametrize("below", [0, 1, 60, 124, 200, 2500])
def test_a_p_value_agrees_with_the_interval_and_is_never_zero(below):
    draws = np.array([1.0] + [-1.0] * below + [1.0] * (RESAMPLES - below))
    for sign in (1.0, -1.0):
        found, p = interval(sign * draws), p_value(sign * draws)
        excludes = found.low > 0.0 or found.high < 0.0
        assert 0.0 < p <= 1.0 and (p <= 0.05) == excludes


def test_of_equal_systems_p_is_one_and_of_none_unknown():
    assert p_value(np.zeros(100)) == 1.0
    assert p_value(np.array([np.nan, 1.0, 2.0])) is None
    assert p_value(np.array([1.0])) is None


def test_holm_is_that_of_the_literature():
    # p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm") of R; and Holm (1979): the smallest times all.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.02]) == [0.02] and holm([]) == [] and holm([0.6, 0.7]) == [1.0, 1.0]


def test_where_nothing_differs_holm_leaves_one_in_few_of_many_families():
    families = np.random.default_rng(0).uniform(size=(2000, 20))
    assert np.mean([min(holm(p)) <= 0.05 for p in families]) == pytest.approx(0.05, abs=0.015)
    assert np.mean(families <= 0.05) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("resamples", [39, 999, 4999])
def test_too_many_tests_for_the_draws_are_known(resamples):
    least = p_value(np.ones(1 + resamples))
    most = most_tests(resamples)
    assert min(holm([least] * most)) <= 0.05 < min(holm([least] * (most + 1)))
