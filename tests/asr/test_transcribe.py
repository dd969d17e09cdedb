import pytest
from tiny import RATE, noise, tiny_recognizer

from espnet_ext.asr.transcribe import transcribe
from espnet_ext.data.audio import write_wav
from espnet_ext.errors import InputError


@pytest.fixture(scope="module")
def wav_scp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    paths = {}
    for index, wave in enumerate(noise(6000, 4000, 5000, 4100)):
        paths[f"u{index}"] = str(folder / f"u{index}.wav")
        write_wav(paths[f"u{index}"], wave, RATE)
    return paths


@pytest.mark.parametrize("beam_size", [1, 3])
def test_every_utterance_has_a_transcript_that_batches_do_not_change(wav_scp, beam_size):
    recognizer = tiny_recognizer()
    one_by_one = transcribe(recognizer, wav_scp, 0.5, beam_size, batch_size=1)
    together = transcribe(recognizer, wav_scp, 0.5, beam_size, batch_size=4)
    assert list(together) == ["u0", "u1", "u2", "u3"]
    assert together == one_by_one


def test_a_beam_of_more_than_all_tokens_is_refused(wav_scp):
    with pytest.raises(InputError, match="13 tokens"):
        transcribe(tiny_recognizer(), wav_scp, 0.5, beam_size=14)


def test_heads_give_a_label_to_each_utterance(wav_scp):
    heads = {"accent": ["gb", "us"], "gender": ["f", "m"]}
    found = transcribe(tiny_recognizer(asr_weight=0.7, heads=heads), wav_scp, 0.0)
    for hypothesis in found.values():
        assert {name: hypothesis.labels[name] in heads[name] for name in heads} == {
            "accent": True,
            "gender": True,
        }


def test_audio_of_another_sample_rate_is_refused_by_name(wav_scp, tmp_path):
    path = tmp_path / "fast.wav"
    write_wav(path, noise(4000)[0], 16000)
    with pytest.raises(InputError, match=r"fast.wav.*'u9'.*16000"):
        transcribe(tiny_recognizer(), {**wav_scp, "u9": str(path)}, 0.5)


def test_training_mode_is_given_back(wav_scp):
    recognizer = tiny_recognizer()
    recognizer.model.train()
    transcribe(recognizer, wav_scp, 0.5)
    assert recognizer.model.training


@pytest.mark.parametrize("ctc_weight", [0.0, 0.5, 1.0])
def test_what_is_too_short_is_heard_as_nothing_whoever_is_beside_it(
    wav_scp, tmp_path, ctc_weight, caplog
):
    recognizer = tiny_recognizer(asr_weight=0.7, heads={"accent": ["gb", "us"]})
    shortest = recognizer.frames.shortest
    for name, wave in zip("ab", noise(shortest - 1, shortest), strict=True):
        write_wav(tmp_path / f"{name}.wav", wave, RATE)
    short = {name: str(tmp_path / f"{name}.wav") for name in "ab"}
    together = transcribe(recognizer, {**wav_scp, **short}, ctc_weight)
    assert "utterance a: " in caplog.text and "utterance b" not in caplog.text
    assert together["a"] == ("", {"accent": "unknown"})
    for name in "ab":
        alone = transcribe(recognizer, {name: short[name]}, ctc_weight)
        assert alone == {name: together[name]}
    assert {n: together[n] for n in wav_scp} == transcribe(recognizer, wav_scp, ctc_weight)
