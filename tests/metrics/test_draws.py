import numpy as np
import pytest

from espnet_ext.metrics import draws as module
from espnet_ext.metrics.draws import Draws, equal_error, interval
from espnet_ext.metrics.eer import equal_error_rate

SPEAKERS = np.array([0, 0, 1, 1, 2, 2, 2])


def test_the_first_row_takes_everything_once():
    draws = Draws(3, resamples=5)
    right = np.array([[1, 0, 1, 0, 1, 1, 1.0]])
    assert draws.rate(right, np.ones(7, bool), SPEAKERS)[0] == pytest.approx(500 / 7)
    assert draws.counts.shape == (6, 3) and (draws.counts.sum(axis=1) == 3).all()


def test_the_same_seed_draws_the_same():
    first, second, other = Draws(9), Draws(9), Draws(9, seed=1)
    assert (first.counts == second.counts).all()
    assert (first.training_seeds(3) == second.training_seeds(3)).all()
    assert (first.counts != other.counts).any()
    assert (first.training_seeds(3) != other.training_seeds(3)).any()


def test_speakers_are_drawn_as_a_whole():
    draws = Draws(2, resamples=200)
    right = np.array([[1.0, 1.0, 0.0, 0.0]])
    rates = draws.rate(right, np.ones(4, bool), np.array([0, 0, 1, 1]))
    assert set(rates.tolist()) == {0.0, 50.0, 100.0}


def test_rates_are_those_of_the_drawn_trials():
    draws = Draws(3, resamples=20)
    generator = np.random.default_rng(0)
    right = generator.integers(0, 2, (2, 7)).astype(float)
    chosen = np.array([True, False, True, True, True, False, True])
    rates = draws.rate(right, chosen, SPEAKERS)
    seeds = draws.training_seeds(2)
    for row, found in enumerate(rates):
        times = draws.counts[row][SPEAKERS] * chosen
        weights = seeds[row][:, None] * times
        assert found == pytest.approx(100 * (weights * right).sum() / weights.sum())


def test_training_seeds_are_pooled_on_demand():
    draws = Draws(2, resamples=50)
    right = np.array([[1.0, 1.0], [0.0, 0.0]])
    everything, speakers = np.ones(2, bool), np.array([0, 1])
    pooled = draws.rate(right, everything, speakers, draw_seeds=False)
    assert set(pooled.tolist()) == {50.0}
    assert set(draws.rate(right, everything, speakers).tolist()) == {0.0, 50.0, 100.0}


def test_a_choice_may_differ_by_training_seed():
    draws = Draws(2, resamples=3)
    right = np.array([[1.0, 0.0], [1.0, 0.0]])
    chosen = np.array([[True, False], [True, True]])
    found = draws.rate(right, chosen, np.array([0, 1]), draw_seeds=False)
    assert found[0] == pytest.approx(200 / 3)


def test_a_draw_without_the_class_is_left_out():
    draws = Draws(2, resamples=100)
    found = draws.rate(np.array([[1.0, 0.0]]), np.array([True, False]), np.array([0, 1]))
    assert np.isnan(found).any() and interval(found) == [100.0, 100.0, 100.0]


def test_nothing_to_count_has_no_value():
    draws = Draws(2, resamples=9)
    found = draws.rate(np.ones((1, 2)), np.zeros(2, bool), np.array([0, 1]))
    assert interval(found) == [None, None, None]


def test_one_speaker_gives_no_interval():
    found = Draws(1).rate(np.array([[1.0, 0.0]]), np.ones(2, bool), np.zeros(2, int))
    assert interval(found) == [50.0, None, None]


def test_an_interval_has_the_percentiles():
    low, high = 2.5, 97.5
    assert interval(np.arange(-1.0, 101.0)) == [-1.0, low, high]
    assert interval(np.arange(-1.0, 101.0), value=7.0) == [7.0, low, high]


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
    for times, rate in zip(draws.counts, found, strict=True):
        weights = times[speakers]
        pairs = []
        for threshold in [-np.inf, *np.sort(scores[0])]:
            below = scores[0] <= threshold
            miss = (weights * (below & bonafide)).sum() / (weights * bonafide).sum()
            accepted = (weights * (~below & ~bonafide)).sum() / (weights * ~bonafide).sum()
            pairs.append((abs(miss - accepted), (miss + accepted) / 2))
        closest = min(gap for gap, _ in pairs)
        assert rate / 100 in [pytest.approx(v) for gap, v in pairs if gap < closest + 1e-9]


def test_many_units_are_drawn_in_blocks_with_the_same_numbers(scored, monkeypatch):
    scores, bonafide, speakers = scored
    right = (scores > 0) == bonafide

    def numbers():
        draws = Draws(6, resamples=50)
        rates = draws.rate(right.astype(float), bonafide, speakers)
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
