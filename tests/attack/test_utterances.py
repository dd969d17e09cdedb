import dataclasses

import pytest
from attack_kinds import LENGTHS, TARGETS, write_speech
from tiny_cm import RATE, write_tones

from espnet_ext.attack.utterances import digest, read_trials, read_utterances
from espnet_ext.data.audio import read_audio
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError


def test_trials_are_read_and_checked(tmp_path):
    folder = write_tones(tmp_path / "data", 4)
    trials = read_trials(folder, RATE)
    assert [t.name for t in trials] == sorted(t.name for t in trials) and len(trials) == 4
    assert {t.labels["key"] for t in trials} == {"spoof", "bonafide"}
    assert all(len(read_audio(t.path)[0]) == t.samples for t in trials)
    attacks = read_table(folder / "utt2attack")
    write_table(folder / "utt2attack", {k: v for k, v in attacks.items() if v != "-"})
    assert read_trials(folder, RATE) == trials  # bona fide ones may be left out
    labels = read_table(folder / "utt2label")
    write_table(folder / "utt2label", {**labels, trials[0].name: "genuine"})
    with pytest.raises(InputError, match=f"utterance {trials[0].name}: unknown key 'genuine'"):
        read_trials(folder, RATE)
    write_table(folder / "utt2label", {t.name: t.labels["key"] for t in trials[1:]})
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
    assert digest(
        [dataclasses.replace(trials[0], labels={**trials[0].labels, "attack": "A99"}), *trials[1:]]
    ) != digest(trials)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_speech(tmp_path_factory.mktemp("data"))


def test_only_utterances_with_a_target_are_attacked(speech):
    utterances = read_utterances(*(speech / n for n in ("wav.scp", "targets", "text")), RATE)
    assert [u.name for u in utterances] == sorted(TARGETS)
    assert [u.samples for u in utterances] == [LENGTHS[u.name] for u in utterances]
    assert {u.labels["reference"] for u in utterances} == {"nine"}
    assert {u.name: u.labels["target"] for u in utterances} == TARGETS


@pytest.mark.parametrize("missing", ["wav.scp", "text"])
def test_utterance_that_is_in_one_file_only_is_named(speech, tmp_path, missing):
    table = read_table(speech / missing)
    del table["b1"]
    write_table(tmp_path / missing, table)
    files = {name: speech / name for name in ("wav.scp", "targets", "text")}
    files[missing] = tmp_path / missing
    with pytest.raises(InputError, match=rf"(?s){missing} has not.*utterance b1"):
        read_utterances(files["wav.scp"], files["targets"], files["text"], RATE)


def test_audio_of_another_rate_is_refused(speech):
    with pytest.raises(InputError, match=r"a1.*8000 Hz instead of 16000"):
        read_utterances(speech / "wav.scp", speech / "targets", None, 16000)


def test_all_audio_that_cannot_be_used_is_named(speech, tmp_path):
    (tmp_path / "torn.wav").write_bytes((speech / "a1.wav").read_bytes()[:999])
    paths = read_table(speech / "wav.scp")
    paths |= {"a1": str(tmp_path / "torn.wav"), "b1": "cat b1.wav |", "c1": "raw.ark:17"}
    write_table(tmp_path / "wav.scp", paths)
    with pytest.raises(InputError) as caught:
        read_utterances(tmp_path / "wav.scp", speech / "targets", None, RATE)
    said = str(caught.value)
    assert "'a1': cut off" in said and "'b1': a command" in said and "'c1': a command" in said
    assert "format_data" in said
