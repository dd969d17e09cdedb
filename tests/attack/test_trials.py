import dataclasses

import pytest
from espnet_ext.attack.trials import digest, read_trials
from tiny_cm import RATE, write_tones

from espnet_ext.data.audio import read_audio
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError


def test_trials_are_read_and_checked(tmp_path):
    folder = write_tones(tmp_path / "data", 4)
    trials = read_trials(folder, RATE)
    assert [t.name for t in trials] == sorted(t.name for t in trials) and len(trials) == 4
    assert {t.key: t.label for t in trials} == {"spoof": 0, "bonafide": 1}
    assert all(len(read_audio(t.path)[0]) == t.samples for t in trials)
    attacks = read_table(folder / "utt2attack")
    write_table(folder / "utt2attack", {k: v for k, v in attacks.items() if v != "-"})
    assert read_trials(folder, RATE) == trials  # bona fide ones may be left out
    labels = read_table(folder / "utt2label")
    write_table(folder / "utt2label", {**labels, trials[0].name: "genuine"})
    with pytest.raises(InputError, match=f"utterance {trials[0].name}: unknown key 'genuine'"):
        read_trials(folder, RATE)
    write_table(folder / "utt2label", {t.name: t.key for t in trials[1:]})
    with pytest.raises(InputError, match=f"no label of utterance {trials[0].name}"):
        read_trials(folder, RATE)
    with pytest.raises(InputError, match=r"utterance 's\d-u\d+': sample rate"):
        write_table(folder / "utt2label", labels)
        read_trials(folder, 16000)


def test_utterances_shorter_than_one_window_are_named(tmp_path, caplog):
    trials = read_trials(write_tones(tmp_path / "data", 4), RATE)
    assert not caplog.records
    shortest, longest = (f(t.samples for t in trials) for f in (min, max))
    assert read_trials(tmp_path / "data", RATE, window=shortest) == trials
    assert not caplog.records
    assert read_trials(tmp_path / "data", RATE, window=longest + 1) == trials
    message = caplog.records[-1].getMessage()
    assert f"4 utterances are shorter than one window of {longest + 1} samples" in message
    assert trials[0].name in message


def test_the_digest_is_of_the_trials_and_not_of_their_place(tmp_path):
    trials = read_trials(write_tones(tmp_path / "data", 4), RATE)
    elsewhere = [dataclasses.replace(t, path=f"/elsewhere/{t.name}.wav") for t in trials]
    assert digest(elsewhere) == digest(trials)
    assert digest(trials[1:]) != digest(trials)
    assert digest([dataclasses.replace(trials[0], attack="A99"), *trials[1:]]) != digest(trials)
