import numpy as np
import pandas as pd
import pytest
from attack_rows import log_row, scored

from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.metrics import bootstrap
from espnet_ext.report.recognition import (
    attack_rows,
    benign_scores,
    decoded_rows,
    definitions,
)
from espnet_ext.report.table import by_setting, difference, measured

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
    (found,) = scored(FOUR)
    assert (found["budget"], found["step"], found["utterances"]) == ("eps2", 5, 4)
    assert found["adv_twer"].value == 100 * 7 / 20
    assert found["success_rate"].value == 50.0
    # Against "oops oops": 5 words instead of 2, of which 0, 2, 2 and 0 are right.
    assert found["wer"].value == 100 * (5 + 3 + 3 + 5) / 8


def test_words_worked_by_hand():
    (found,) = scored(FOUR)
    counts = {"hits": 13, "substitutions": 7, "deletions": 0, "insertions": 0}
    assert found["target_words"] == counts
    # "oops oops" beside five words, of which the first 0, 5, 2 and 0 are "oops".
    counts = {"hits": 4, "substitutions": 4, "deletions": 0, "insertions": 12}
    assert found["reference_words"] == counts
    assert "reference_words" not in scored([row(0, 0, reference=None)])[0]


def test_what_another_search_hears_stands_beside_what_was_attacked():
    texts = ["to be or not to", "oops", "to be or not to", "to be or not to"]
    rows = [
        {**one, "answers": {"beam1": {"hypothesis": text, "reached": False}}}
        for one, text in zip(FOUR, texts, strict=True)
    ]
    (found,) = scored(rows)
    assert found["adv_twer"] == scored(FOUR)[0]["adv_twer"]
    heard = found["heard_by"]["beam1"]
    assert heard["adv_twer"].value == 100 * 5 / 20
    assert heard["wer"].value == 100 * (5 + 1 + 5 + 5) / 8
    assert heard["otherwise"].value == 50.0 and heard["success_rate"].value == 0.0
    assert "heard_by" not in scored(FOUR)[0]


def test_sizes_worked_by_hand():
    (found,) = scored([*FOUR[:3], row(4, 0)])
    assert (found["snr_median"], found["snr_min"]) == (31.5, 30.0)
    assert (found["l2_median"], found["l2_max"]) == (0.75, 2.0)
    assert found["linf_max"] == pytest.approx(0.4)
    assert (found["loss_mean"], found["stalled_utterances"]) == (17.5, 3)


def test_an_utterance_without_perturbation_has_no_part_in_the_snr():
    (found,) = scored([row(0, 0, snr=None), row(1, 0), row(2, 0, snr=50.0)])
    assert (found["snr_median"], found["snr_min"]) == (40.5, 31.0)
    (found,) = scored([row(0, 0, snr=None)])
    assert (found["snr_median"], found["snr_min"]) == (None, None)


def test_success_does_not_look_at_case_and_blanks():
    (found,) = scored([row(0, 0, hypothesis="TO be  or not to "), row(1, 1)])
    assert found["success_rate"].value == 50.0


def test_an_empty_transcript_misses_every_word():
    (found,) = scored([row(0, 0, hypothesis="")])
    assert (found["adv_twer"].value, found["wer"].value) == (100.0, 100.0)


def test_without_references_there_is_no_word_error_rate():
    (found,) = scored([row(0, 0, reference=None), row(1, 1)])
    assert "wer" not in found and found["adv_twer"].value == 10.0


def test_every_budget_and_step_is_scored_alone():
    rows = [
        row(n, n + step // 5, b, step) for n in (0, 1) for b in ("eps1", "eps2") for step in (5, 10)
    ]
    found = {(e["budget"], e["step"]): e["adv_twer"].value for e in scored(rows)}
    scores = {5: 30.0, 10: 50.0}
    assert found == {(b, step): scores[step] for b in ("eps1", "eps2") for step in (5, 10)}
    assert [s[1:] for s in by_setting(attack_rows(rows))] == list(found)


def test_steps_are_in_the_order_of_numbers():
    assert [e["step"] for e in scored([row(0, 0, step=s) for s in (100, 0, 25)])] == [0, 25, 100]


@pytest.mark.parametrize("order", [("eps0.5", "eps2", "eps10"), ("snr41", "snr38", "snr35")])
def test_budgets_keep_the_order_of_the_attack(order):
    rows = [row(0, 0, budget) for budget in order]
    assert tuple(e["budget"] for e in scored(rows)) == order


def test_the_order_of_the_log_means_nothing():
    assert scored(FOUR[::-1]) == scored(FOUR)


def test_speakers_may_be_resampled():
    rows = [row(0, 5), row(1, 5), row(2, 0), row(3, 0)]
    (by_utterance,), (by_speaker,) = scored(rows), scored(rows, SPEAKERS)
    assert by_speaker["adv_twer"].value == by_utterance["adv_twer"].value
    assert by_speaker["adv_twer"][1:] == (0.0, 100.0)
    rows = [row(0, 5), row(1, 0), row(2, 5), row(3, 0)]
    assert scored(rows, SPEAKERS)[0]["success_rate"] == (50.0, 50.0, 50.0)
    assert np.ptp(scored(rows)[0]["success_rate"][1:]) > 0


def test_definitions_say_what_is_resampled():
    for unit in ("utterance", "speaker"):
        found = definitions(unit)
        assert f"{bootstrap.RESAMPLES} resamples of {unit}s; too narrow" in found["interval"]
        assert {"adv_twer", "wer", "success_rate", "snr"} <= set(found)


def clean(utterance: str) -> dict:
    """A row without attack as logs have it that name their methods."""
    row = log_row(utterance, "", 0, 5)
    return row | {"kind": "attack_row", "version": 1, "method": "clean", "budget": None}


def attacked(utterance: str, method: str, step: int, wrong: int) -> dict:
    budget = {"norm": 2, "size": 35.0, "unit": "snr", "tag": "snr35"}
    return log_row(utterance, "", step, wrong) | {"method": method, "budget": budget}


def test_noise_of_the_same_size_is_a_setting_beside_the_attack():
    """Rows that name their methods: what is heard without attack is in the log once."""
    names = ("u0", "u1")
    rows = [clean(name) for name in names]
    rows += [attacked(name, "pgd", step, 4 - step) for name in names for step in (1, 2)]
    rows += [attacked(name, "noise", 1, 5) for name in names]
    found = {(e["method"], e["budget"], e["step"]): e["adv_twer"].value for e in scored(rows)}
    assert found == {
        ("pgd", "snr35", 0): 100.0,
        ("pgd", "snr35", 1): 60.0,
        ("pgd", "snr35", 2): 40.0,
        ("noise", "snr35", 1): 100.0,
    }


TEXTS = {"u1": "one two", "u2": "three", "u3": "four five six"}
OF = {"u1": "a", "u2": "a", "u3": "b"}


@pytest.fixture
def heard(tmp_path):
    """Rows of transcripts or labels of one training seed."""

    def heard(found, truth=TEXTS, speakers=None, seed=0, table="text"):
        data, decoded = tmp_path / "data", tmp_path / f"decoded{seed}"
        write_table(data / table, truth)
        write_table(decoded / table, found)
        if table != "text":
            write_table(decoded / "text", dict.fromkeys(found, "one"))
        return decoded_rows(decoded, data, speakers, seed)

    return heard


def test_error_rates_worked_by_hand(heard):
    found = benign_scores(heard({"u1": "one too", "u2": "three", "u3": "four six"}))
    assert found["wer"].value == pytest.approx(100 * 2 / 6)
    assert found["cer"].value == pytest.approx(100 * (1 + 0 + 5) / (7 + 5 + 13))


def test_an_empty_hypothesis_counts_as_deletions(heard):
    found = benign_scores(heard(dict.fromkeys(TEXTS, "")))
    assert found["wer"] == found["cer"] == (100.0, 100.0, 100.0)


def test_a_transcript_without_a_reference_is_named(heard):
    with pytest.raises(InputError, match=r"no reference .*:\nutterance u4"):
        heard({**TEXTS, "u4": "seven"})
    with pytest.raises(InputError, match="utterance u9"):
        heard({"u9": "us"}, {"u1": "us"}, table="utt2accent")


def test_a_reference_that_was_not_transcribed_is_named(heard):
    with pytest.raises(InputError, match="u3"):
        heard({"u1": "one two", "u2": "three"})


def test_accuracy_is_over_the_known_labels(heard):
    truth = {"u1": "us", "u2": "gb", "u3": "unknown", "u4": "us"}
    found = {"u1": "us", "u2": "us", "u3": "gb", "u4": "us"}
    rows = heard(found, truth, table="utt2accent")
    assert measured(rows, "accent_accuracy").value == pytest.approx(100 * 2 / 3)


def test_labels_that_are_all_unknown_are_told_to_the_user(heard):
    with pytest.raises(InputError, match="all 1 are 'unknown'"):
        heard({"u1": "us"}, {"u1": "unknown"}, table="utt2accent")


def test_speakers_of_transcripts_may_be_resampled(heard):
    rows = heard({"u1": "oops oops", "u2": "oops", "u3": "four five six"}, speakers=OF)
    assert measured(rows, "wer") == (50.0, 0.0, 100.0)


def test_several_trainings_count_alike(heard):
    rows = pd.concat([heard(TEXTS), heard(dict.fromkeys(TEXTS, ""), seed=1)])
    assert benign_scores(rows)["wer"].value == 50.0


def test_what_was_decoded_is_scored_by_what_the_data_directory_has(tmp_path):
    data, decoded = tmp_path / "data", tmp_path / "decoded"
    for directory in (data, decoded):
        write_table(directory / "utt2accent", {"u1": "us", "u2": "gb", "u3": "us"})
    write_table(decoded / "text", {**TEXTS, "u3": ""})
    write_table(decoded / "utt2age", dict.fromkeys(TEXTS, "forties"))
    assert benign_scores(decoded_rows(decoded, data)).keys() == {"utterances", "accent_accuracy"}
    write_table(data / "text", TEXTS)
    found = benign_scores(decoded_rows(decoded, data, OF))
    assert found["utterances"] == 3 and found["wer"].value == 50.0
    assert found["accent_accuracy"] == (100.0, 100.0, 100.0)


def test_a_difference_of_word_error_rates_is_paired(heard):
    right, wrong = heard(TEXTS), heard({**TEXTS, "u2": "two"})
    assert not difference(right, right, "wer").any()
    assert difference(wrong, right, "wer")[0] == pytest.approx(100 / 6)
    again = heard(TEXTS, seed=1)
    several = difference(pd.concat([wrong, again]), pd.concat([right, again]), "wer")
    assert several[0] == pytest.approx(100 / 12)
    with pytest.raises(InputError, match="different utterances"):
        difference(right, right[:1], "wer")
    with pytest.raises(InputError, match="no training seed in common"):
        difference(right, again, "wer")
