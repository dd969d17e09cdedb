import json

import numpy as np
import pytest

from espnet_ext.cm.scores import AsvScore, TrialScore
from espnet_ext.data.files import read_json, write_json
from espnet_ext.errors import InputError
from espnet_ext.report.countermeasure_scores import (
    ANSWERS,
    DEFINITIONS,
    Threshold,
    measure_scores,
    summary,
    threshold_of,
)

# The worked example of the official evaluation code, with two attacks.
BONAFIDE = [2.0, 1.5, 1.0, 0.5, -0.5]
SPOOF = {"A07": [0.8, 0.0, -1.0, -1.2, -2.0], "A08": [-2.5, -3.0, -3.5, -4.0, -5.0]}
ASV = {
    ("bonafide", "target"): [3.0, 2.5, 2.0, 1.5, 0.2],
    ("bonafide", "nontarget"): [0.5, -0.5, -1.0, -2.0, -3.0],
    ("A07", "spoof"): [2.2, 1.0, 0.8, -0.3],
}


@pytest.fixture(scope="module")
def scores() -> list[TrialScore]:
    rows = [TrialScore(f"b{n}", "-", "bonafide", s) for n, s in enumerate(BONAFIDE)]
    for attack, values in SPOOF.items():
        rows += [TrialScore(f"{attack}{n}", attack, "spoof", s) for n, s in enumerate(values)]
    return rows


@pytest.fixture(scope="module")
def asv() -> list[AsvScore]:
    return [AsvScore(*keys, score) for keys, scores in ASV.items() for score in scores]


@pytest.fixture(scope="module")
def results(scores, asv) -> dict:
    utt2spk = {row.utterance: row.utterance[-1] for row in scores}
    point = Threshold(0.0, "dev/scores.txt")
    return measure_scores(scores, asv=asv, threshold=point, utt2spk=utt2spk, resamples=200)


def test_the_worked_example(results):
    assert results["eer"][0] == pytest.approx(20.0)
    assert results["eer_threshold"] == -0.5
    assert results["min_tdcf_2019"][0] == pytest.approx(0.2, abs=1e-12)
    assert results["min_tdcf_2021"][0] == pytest.approx(0.2385787, abs=1e-7)
    assert results["min_dcf"][0] == pytest.approx(0.2)  # no miss, and two of ten spoofs accepted
    assert results["asv"] == {
        "miss": 0.0,
        "false_alarm": 0.2,
        "false_alarm_spoof": 0.75,
        "threshold": 0.2,
        "c0": pytest.approx(0.019),
        "c1": pytest.approx(0.9215),
        "c2": pytest.approx(0.375),
    }


def test_answers_at_the_operating_point(results):
    assert results["threshold"] == {"value": 0.0, "source": "dev/scores.txt"}
    values = [results[name][0] for name in ANSWERS]
    assert values == pytest.approx([1300 / 15, 85.0, 80.0, 90.0, 10.0])


def test_each_attack_has_a_row(results):
    assert [(e["attack"], e["trials"]) for e in results["attacks"]] == [("A07", 5), ("A08", 5)]
    first, second = results["attacks"]
    assert (first["eer"][0], first["spoof_accept_rate"][0]) == pytest.approx((20.0, 20.0))
    assert (second["eer"][0], second["spoof_accept_rate"][0]) == (0.0, 0.0)


def test_counts_and_what_is_drawn(results, scores):
    assert results["trials"] == {"bonafide": 5, "spoof": 10} and results["speakers"] == 5
    assert "200 draws of speakers" in results["definitions"]["interval"]
    alone = measure_scores(scores, resamples=20)
    assert alone["speakers"] is None
    assert "20 draws of trials" in alone["definitions"]["interval"]


def test_intervals_hold_their_values(results):
    for name in ("eer", "min_tdcf_2019", "min_tdcf_2021", *ANSWERS):
        value, low, high = results[name]
        assert low - 1e-9 <= value <= high + 1e-9, name


def test_every_number_has_its_definition(results):
    derived = {"kind", "version", "definitions", "trials", "speakers", "eer_threshold"}
    assert set(results) - derived <= set(DEFINITIONS)
    assert "too narrow where few are drawn" in results["definitions"]["interval"]


def test_what_cannot_be_had_is_left_out_by_name(scores):
    found = measure_scores(scores, resamples=20)
    missing = {name for name, value in found.items() if value is None}
    assert missing == {"min_tdcf_2019", "min_tdcf_2021", "asv", "threshold", "speakers", *ANSWERS}
    assert found["attacks"][0]["spoof_accept_rate"] is None
    assert "| min t-DCF (2019 form) | - |" in summary(found)


def test_results_survive_json(results, tmp_path):
    write_json(tmp_path / "results.json", results)
    again = read_json(tmp_path / "results.json")
    assert json.dumps(again) == json.dumps(results)
    assert summary(again) == summary(results)


def test_the_tables(results):
    lines = summary(results).splitlines()
    assert lines[0] == "| 5 bona fide, 10 spoof | value (95 % interval) |"
    assert any(line.startswith("| min t-DCF (2021 form) | 0.2386 (") for line in lines)
    assert any(line.startswith("| spoof accept rate % | 10.0 (") for line in lines)
    assert lines[-1].startswith("| A08 | 5 | 0.0 (0.0 to 0.0) |")


def test_the_same_scores_give_the_same_numbers(scores, asv):
    one, two = (measure_scores(list(rows), asv=asv, resamples=50) for rows in (scores, scores))
    assert one == two


def test_the_threshold_of_development_data(scores):
    assert threshold_of(scores, "dev.txt") == Threshold(-0.5, "equal error rate of dev.txt")
    only = [row for row in scores if row.key == "spoof"]
    with pytest.raises(InputError, match=r"dev.txt: no bonafide trials among 10"):
        threshold_of(only, "dev.txt")


def test_scores_of_one_class_are_refused(scores):
    with pytest.raises(InputError, match="no spoof trials among 5; score all trials"):
        measure_scores(scores[:5])


def test_an_utterance_without_a_speaker_is_refused(scores):
    with pytest.raises(InputError, match="no speaker of 'b4'"):
        measure_scores(scores, utt2spk={row.utterance: "s" for row in scores[:4] + scores[5:]})


def test_a_verifier_that_accepts_no_spoof(scores, asv):
    bad = [row._replace(score=row.score - 9.0 * (row.key == "spoof")) for row in asv]
    with pytest.raises(InputError, match=r"accepts no spoof.*; leave out --asv_scores"):
        measure_scores(scores, asv=bad, resamples=20)


def test_a_verifier_that_is_wrong_about_everyone(scores, asv):
    targets = [AsvScore("bonafide", "target", -1.0 - n / 20) for n in range(20)]
    bad = [*targets, *(row for row in asv if row.key == "spoof")]
    bad += [AsvScore("bonafide", "nontarget", 1.0)] * 20
    with pytest.raises(InputError, match=r"negative t-DCF weights .*check the ASV scores"):
        measure_scores(scores, asv=bad, resamples=20)


def test_random_scores_are_near_chance():
    generator = np.random.default_rng(0)
    rows = [
        TrialScore(f"u{n}", "A07" if n % 2 else "-", "spoof" if n % 2 else "bonafide", float(s))
        for n, s in enumerate(generator.normal(size=400))
    ]
    value, low, high = measure_scores(rows, resamples=300)["eer"]
    assert low < 50.0 < high and abs(value - 50.0) < 6.0
