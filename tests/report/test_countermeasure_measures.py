import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_ext.cm.scores import TrialScore
from espnet_ext.metrics.eer import det_curve, equal_error_rate
from espnet_ext.metrics.tdcf import MIN_DCF, min_tdcf
from espnet_ext.report.countermeasure_measures import Measures, balanced_by_seed
from espnet_ext.report.countermeasure_run import answered, trials_of

SCORES = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)


def measured(bonafide, scores, speakers=None, threshold=0.0):
    """Rows of one training seed, and their measures."""
    rows = [
        TrialScore(f"u{n:03d}", "-" if real else "A07", "bonafide" if real else "spoof", score)
        for n, (real, score) in enumerate(zip(bonafide, scores, strict=True))
    ]
    named = speakers and {row.utterance: s for row, s in zip(rows, speakers, strict=True)}
    trials = trials_of(rows, named)
    return answered(rows, trials, threshold, "scores.txt"), Measures(trials, 200)


def test_answering_spoof_is_90_percent_right_and_worth_nothing():
    rows, measures = measured([False] * 9 + [True], [-1.0] * 10)
    rates = measures.rates(rows)
    assert (rates["accuracy"][0], rates["balanced_accuracy"][0]) == (90.0, 50.0)
    assert rates["spoof_accept_rate"][0] == 0.0 and balanced_by_seed(rows).tolist() == [50.0]


def test_intervals_draw_speakers():
    bonafide = [n % 2 == 1 for n in range(80)]
    right = [n // 20 % 2 for n in range(80)]
    scores = [1.0 if c == r else -1.0 for c, r in zip(bonafide, right, strict=True)]
    alone, by_speaker = (
        measures.rates(rows)["balanced_accuracy"]
        for rows, measures in (
            measured(bonafide, scores),
            measured(bonafide, scores, [f"s{n // 20}" for n in range(80)]),
        )
    )
    assert alone[0] == by_speaker[0] == 50.0
    assert by_speaker[2] - by_speaker[1] > 2 * (alone[2] - alone[1])


def test_a_difference_is_paired():
    bonafide = [n % 2 == 1 for n in range(60)]
    some, measures = measured(bonafide, [float(n % 5) - 1.0 for n in range(60)])
    assert not measures.difference(some, some).any()
    constant, _ = measured(bonafide, [-1.0] * 60)
    perfect, _ = measured(bonafide, [1.0 if real else -1.0 for real in bonafide])
    assert (measures.difference(perfect, constant) == 50.0).all()


@given(SCORES, SCORES)
def test_the_threshold_of_the_eer_gives_the_two_errors_that_it_averages(bonafide, spoof):
    threshold = equal_error_rate(bonafide, spoof).threshold
    curve = det_curve(bonafide, spoof)
    # Among ties the last of the equal thresholds has rejected them all.
    last = int(np.flatnonzero(curve.thresholds == threshold)[-1])
    classes = [True] * len(bonafide) + [False] * len(spoof)
    rows, _ = measured(classes, [*bonafide, *spoof], threshold=threshold)
    right = rows.groupby("bonafide")["right"].mean()
    assert 1 - right[True] == pytest.approx(curve.miss[last])
    assert 1 - right[False] == pytest.approx(curve.false_alarm[last])


def test_a_score_at_the_threshold_is_spoof():
    rows, _ = measured([True, True, False], [1.0, 1.1, 1.0], threshold=1.0)
    assert rows["right"].tolist() == [0.0, 1.0, 1.0]


def test_a_share_of_chosen_trials_of_those_that_count():
    rows, measures = measured([True] * 4 + [False] * 4, [1, 1, -1, -1, -1, -1, -1, -1.0])
    assert measures.rates(rows)["accuracy"].value == 75.0
    spoof, real = measures.classes(rows, rows["right"])
    assert (spoof[0], real[0]) == (100.0, 50.0)


def test_costs_are_those_of_the_official_functions_over_seeds():
    generator = np.random.default_rng(5)
    bonafide = generator.random(60) < 0.4
    scores = generator.normal(size=(2, 60)) + 1.5 * bonafide
    first, measures = measured(bonafide, scores[0], [f"s{n % 7}" for n in range(60)])
    rows = pd.concat([first, first.assign(seed=1, score=scores[1])], ignore_index=True)
    found = measures.costs(rows)
    pairs = [(row[bonafide], row[~bonafide]) for row in scores]
    eer = np.mean([100 * equal_error_rate(*pair).rate for pair in pairs])
    assert found["eer"][0] == pytest.approx(eer)
    assert found["min_dcf"][0] == pytest.approx(
        np.mean([min_tdcf(*pair, MIN_DCF).value for pair in pairs])
    )
    bits = [[np.log2(1 + np.exp(-real)).mean(), np.log2(1 + np.exp(s)).mean()] for real, s in pairs]
    assert found["cllr"][0] == pytest.approx(np.mean(bits))
    assert all(low < value < high for value, low, high in found.values())
    assert "min_tdcf_2019" not in found


def test_the_cost_of_a_draw_is_that_of_the_trials_drawn():
    """Each speaker as often as it was drawn, in the official functions."""
    generator = np.random.default_rng(6)
    bonafide = np.arange(40) % 3 == 0
    scores = generator.normal(size=40) + bonafide
    speakers = [f"s{n % 5}" for n in range(40)]
    rows, measures = measured(bonafide, scores, speakers)
    drawn = []
    for counts in measures.draws.counts[1:]:
        times = counts[rows["unit"]]
        real, spoof = (np.repeat(scores[kind], times[kind]) for kind in (bonafide, ~bonafide))
        if len(real) and len(spoof):
            drawn.append(min_tdcf(real, spoof, MIN_DCF).value)
    _, low, high = measures.costs(rows)["min_dcf"]
    assert (low, high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=1e-9)
