import pytest

from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.report.recognition import score_decoded, score_labels, score_text, wer_difference

TEXTS = {"u1": "one two", "u2": "three", "u3": "four five six"}
SPEAKERS = {"u1": "a", "u2": "a", "u3": "b"}


def test_error_rates_worked_by_hand():
    heard = {"u1": "one too", "u2": "three", "u3": "four six"}
    found = score_text(TEXTS, [heard])
    assert found["wer"].value == pytest.approx(100 * 2 / 6)
    assert found["cer"].value == pytest.approx(100 * (1 + 0 + 5) / (7 + 5 + 13))


def test_an_empty_transcript_counts_as_deletions():
    found = score_text(TEXTS, [dict.fromkeys(TEXTS, "")])
    assert found["wer"] == found["cer"] == (100.0, 100.0, 100.0)


def test_a_transcript_without_a_reference_is_named():
    with pytest.raises(InputError, match=r"no reference .*:\nutterance u4"):
        score_text(TEXTS, [{**TEXTS, "u4": "seven"}])
    with pytest.raises(InputError, match="utterance u9"):
        score_labels({"u1": "us"}, [{"u9": "us"}])


def test_accuracy_is_over_the_known_labels():
    truth = {"u1": "us", "u2": "gb", "u3": "unknown", "u4": "us"}
    found = {"u1": "us", "u2": "us", "u3": "gb", "u4": "us"}
    assert score_labels(truth, [found]).value == pytest.approx(100 * 2 / 3)


def test_speakers_may_be_resampled():
    heard = {"u1": "oops oops", "u2": "oops", "u3": "four five six"}
    found = score_text(TEXTS, [heard], SPEAKERS)
    assert found["wer"] == (50.0, 0.0, 100.0)
    labels = {"u1": "gb", "u2": "gb", "u3": "us"}
    truth = dict.fromkeys(TEXTS, "us")
    assert score_labels(truth, [labels], SPEAKERS)[1:] == (0.0, 100.0)


def test_labels_that_are_all_unknown_are_told_to_the_user():
    with pytest.raises(InputError):
        score_labels({"u1": "unknown"}, [{"u1": "us"}])


def test_a_reference_that_was_not_transcribed_is_named():
    with pytest.raises(InputError, match="u3"):
        score_text(TEXTS, [{"u1": "one two", "u2": "three"}])


def test_several_trainings_count_alike():
    heard = [TEXTS, dict.fromkeys(TEXTS, "")]
    assert score_text(TEXTS, heard)["wer"].value == 50.0
    assert score_labels(TEXTS, heard).value == 50.0
    with pytest.raises(InputError, match="utterance u4"):
        score_text(TEXTS, [TEXTS, {**TEXTS, "u4": "seven"}])


def test_what_was_decoded_is_scored_by_what_the_data_directory_has(tmp_path):
    data, decoded = tmp_path / "data", tmp_path / "decoded"
    for directory in (data, decoded):
        write_table(directory / "utt2accent", {"u1": "us", "u2": "gb", "u3": "us"})
    write_table(data / "utt2spk", SPEAKERS)
    write_table(decoded / "text", {**TEXTS, "u3": ""})
    write_table(decoded / "utt2age", dict.fromkeys(TEXTS, "forties"))
    assert score_decoded([decoded], data).keys() == {"utterances", "accent_accuracy"}
    write_table(data / "text", TEXTS)
    found = score_decoded([decoded], data, by_speaker=True)
    assert found["utterances"] == 3 and found["wer"].value == 50.0
    assert found["accent_accuracy"] == (100.0, 100.0, 100.0)


def test_a_difference_of_word_error_rates_is_paired(tmp_path):
    texts = {"right": TEXTS, "wrong": {**TEXTS, "u2": "two"}, "short": {"u1": "one two"}}
    for name, text in texts.items():
        write_table(tmp_path / name / "text", text)
    write_table(tmp_path / "text", TEXTS)
    right, wrong, short = ({0: tmp_path / name} for name in texts)
    assert wer_difference(right, right, tmp_path) == (0.0, 0.0, 0.0)
    assert wer_difference(wrong, right, tmp_path).value == pytest.approx(100 / 6)
    several = wer_difference(wrong | {1: tmp_path / "right"}, right | {1: right[0]}, tmp_path)
    assert several.value == pytest.approx(100 / 12)
    with pytest.raises(InputError, match="other utterances"):
        wer_difference(right, short, tmp_path)
    with pytest.raises(InputError, match="no training seed in common"):
        wer_difference(right, {1: right[0]}, tmp_path)
