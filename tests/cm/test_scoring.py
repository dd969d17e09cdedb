import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_cm import cm_model, write_tones

from espnet_ext.cm.scoring import (
    audio_lengths,
    like_lengths,
    read_keys,
    read_speech,
    score_batches,
    trial_scores,
)
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("scoring") / "data", 6)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 9)), st.integers(1, 4))
def test_batches_are_of_like_lengths_and_do_not_depend_on_the_order(lengths, size):
    batches = like_lengths(lengths, size)
    assert batches == like_lengths(dict(reversed(lengths.items())), size)
    planned = [lengths[name] for batch in batches for name in batch]
    assert planned == sorted(lengths.values(), reverse=True)
    assert all(len(batch) == size for batch in batches[:-1])


def test_scores_are_those_of_the_model_for_each_file(data):
    model, paths = cm_model().eval(), read_table(data / "wav.scp")
    batches = like_lengths(audio_lengths(paths, model.sample_rate), 4)
    scores = {k: v for found in score_batches(model, paths, batches) for k, v in found.items()}
    assert list(scores) == [name for batch in batches for name in batch]
    for name, score in scores.items():
        speech, lengths = read_speech(model, paths, [name])
        assert speech.shape == (1, int(lengths)) and 2400 <= int(lengths) < 4800
        with torch.no_grad():
            logits = model.logits(*model.features(speech, lengths))
        assert score == pytest.approx(float(model.scores(logits)), abs=1e-4)
    lines = trial_scores(scores, read_keys(data))
    labels = read_table(data / "utt2label")
    assert [(line.utterance, line.key, line.score) for line in lines] == [
        (name, labels[name], score) for name, score in scores.items()
    ]


def test_clips_shorter_than_a_window_are_counted(data, caplog):
    paths = read_table(data / "wav.scp")
    lengths = audio_lengths(paths, 8000, window=1)
    assert not caplog.text
    caplog.set_level(logging.WARNING)
    assert audio_lengths(paths, 8000, window=min(lengths.values()) + 1) == lengths
    shortest = min(lengths, key=lengths.__getitem__)
    assert "1 utterances are shorter" in caplog.text and shortest in caplog.text


def test_trials_without_a_label_or_an_attack_are_all_named(data, tmp_path):
    tables = {name: read_table(data / name) for name in ("wav.scp", "utt2label", "utt2attack")}
    spoofs = [name for name, key in tables["utt2label"].items() if key == "spoof"]
    trials = read_keys(data)
    assert list(trials) == list(tables["wav.scp"])
    assert {trials[name] for name in tables["wav.scp"] if name not in spoofs} == {("-", "bonafide")}
    del tables["utt2attack"][spoofs[0]], tables["utt2label"][spoofs[1]]
    for name, table in tables.items():
        write_table(tmp_path / name, table)
    with pytest.raises(InputError) as caught:
        read_keys(tmp_path)
    assert all(name in str(caught.value) for name in spoofs[:2])
    assert not any(name in str(caught.value) for name in spoofs[2:])
