import numpy as np
import pytest

from espnet_ext.metrics import bootstrap
from espnet_ext.report.scores import budgets_and_steps, definitions, score, select

WORDS = ["to", "be", "or", "not", "to"]
SPEAKERS = {"u0": "a", "u1": "a", "u2": "b", "u3": "b"}


def row(number: int, wrong: int, budget: str = "eps2", step: int = 5, **changes) -> dict:
    return {
        "utterance": f"u{number}",
        "budget": budget,
        "step": step,
        "target": " ".join(WORDS),
        "reference": "oops oops",
        "hypothesis": " ".join(["oops"] * wrong + WORDS[wrong:]),
        "l2": 0.5 * number,
        "linf": 0.1 * number,
        "snr": 30.0 + number,
        "loss": 10.0 * number,
        "stalled_steps": number,
        **changes,
    }


FOUR = [row(0, 0), row(1, 5), row(2, 2), row(3, 0)]


def test_scores_worked_by_hand():
    (found,) = score(FOUR)
    assert (found["budget"], found["step"], found["utterances"]) == ("eps2", 5, 4)
    assert found["adv_twer"].value == 100 * 7 / 20
    assert found["success_rate"].value == 50.0
    # Against "oops oops": 5 words instead of 2, of which 0, 2, 2 and 0 are right.
    assert found["wer"].value == 100 * (5 + 3 + 3 + 5) / 8


def test_sizes_worked_by_hand():
    (found,) = score([*FOUR[:3], row(4, 0)])
    assert (found["snr_median"], found["snr_min"]) == (31.5, 30.0)
    assert (found["l2_median"], found["l2_max"]) == (0.75, 2.0)
    assert found["linf_max"] == pytest.approx(0.4)
    assert (found["loss_mean"], found["stalled_utterances"]) == (17.5, 3)


def test_an_utterance_without_perturbation_has_no_part_in_the_snr():
    (found,) = score([row(0, 0, snr=None), row(1, 0), row(2, 0, snr=50.0)])
    assert (found["snr_median"], found["snr_min"]) == (40.5, 31.0)
    (found,) = score([row(0, 0, snr=None)])
    assert (found["snr_median"], found["snr_min"]) == (None, None)


def test_success_does_not_look_at_case_and_blanks():
    (found,) = score([row(0, 0, hypothesis="TO be  or not to "), row(1, 1)])
    assert found["success_rate"].value == 50.0


def test_an_empty_transcript_misses_every_word():
    (found,) = score([row(0, 0, hypothesis="")])
    assert (found["adv_twer"].value, found["wer"].value) == (100.0, 100.0)


def test_without_references_there_is_no_word_error_rate():
    (found,) = score([row(0, 0, reference=None), row(1, 1)])
    assert "wer" not in found and found["adv_twer"].value == 10.0


def test_every_budget_and_step_is_scored_alone():
    rows = [row(n, n + step // 5, b, step) for n in (0, 1) for b in ("a", "b") for step in (5, 10)]
    found = {(e["budget"], e["step"]): e["adv_twer"].value for e in score(rows)}
    assert found == {("a", 5): 30.0, ("a", 10): 50.0, ("b", 5): 30.0, ("b", 10): 50.0}
    assert budgets_and_steps(rows) == [("a", 5), ("a", 10), ("b", 5), ("b", 10)]


def test_steps_are_in_the_order_of_numbers():
    assert [e["step"] for e in score([row(0, 0, step=s) for s in (100, 0, 25)])] == [0, 25, 100]


@pytest.mark.parametrize("order", [("eps0.5", "eps2", "eps10"), ("snr41", "snr38", "snr35")])
def test_budgets_keep_the_order_of_the_attack(order):
    rows = [row(0, 0, budget) for budget in order]
    assert tuple(e["budget"] for e in score(rows)) == order


def test_selected_rows_are_sorted_by_utterance():
    rows = [row(2, 0), row(0, 0), row(1, 0, step=10), row(1, 0, "eps3"), row(1, 0)]
    assert [r["utterance"] for r in select(rows, "eps2", 5)] == ["u0", "u1", "u2"]


def test_the_order_of_the_log_means_nothing():
    assert score(FOUR[::-1]) == score(FOUR)


def test_speakers_may_be_resampled():
    rows = [row(0, 5), row(1, 5), row(2, 0), row(3, 0)]
    (by_utterance,), (by_speaker,) = score(rows), score(rows, SPEAKERS)
    assert by_speaker["adv_twer"].value == by_utterance["adv_twer"].value
    assert by_speaker["adv_twer"][1:] == (0.0, 100.0)
    rows = [row(0, 5), row(1, 0), row(2, 5), row(3, 0)]
    assert score(rows, SPEAKERS)[0]["success_rate"] == (50.0, 50.0, 50.0)
    assert np.ptp(score(rows)[0]["success_rate"][1:]) > 0


def test_definitions_say_what_is_resampled():
    for unit in ("utterance", "speaker"):
        found = definitions(unit)
        assert f"{bootstrap.RESAMPLES} resamples of {unit}s; too narrow" in found["interval"]
        assert {"adv_twer", "wer", "success_rate", "snr"} <= set(found)
