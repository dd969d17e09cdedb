import numpy as np
import pytest

from espnet_ext.metrics.intervals import Interval, rate
from espnet_ext.metrics.resampling import resample

VALUES = np.array([0.0, 1.0, 2.0, 5.0, 7.0, 9.0])
GROUPS = ["a", "a", "b", "c", "c", "d"]


def mean(times):
    return float(times @ VALUES / times.sum())


def test_the_value_is_that_of_all_trials_once():
    assert resample(mean, GROUPS, resamples=10).value == VALUES.mean()


def test_it_agrees_with_the_bootstrap_of_a_rate():
    found, expected = resample(mean, GROUPS), rate(VALUES, [1] * 6, GROUPS)
    assert 100 * found.low == pytest.approx(expected.low, abs=40)
    assert 100 * found.high == pytest.approx(expected.high, abs=40)


def test_all_trials_of_a_group_are_drawn_alike():
    seen = []
    resample(lambda times: seen.append(times) or 0.0, GROUPS, resamples=50)
    assert len(seen) == 51 and all(t[0] == t[1] and t[3] == t[4] for t in seen)
    assert all(t[0] + t[2] + t[3] + t[5] == 4 for t in seen[1:])
    assert any((t == 0).any() for t in seen)


def test_the_seed_decides():
    one, same, other = (resample(mean, GROUPS, seed=s, resamples=100) for s in (3, 3, 4))
    assert one == same != other


def test_draws_without_a_value_are_left_out():
    def undefined_without_the_first(times):
        return mean(times) if times[0] else float("nan")

    found = resample(undefined_without_the_first, GROUPS, resamples=200)
    assert found.low is not None and found.low <= found.value <= found.high


def test_one_group_leaves_the_interval_undefined():
    assert resample(mean, ["a"] * 6) == Interval(4.0, None, None)


def test_more_confidence_is_wider():
    narrow, wide = (resample(mean, GROUPS, confidence=c) for c in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high
