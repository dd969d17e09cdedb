from pathlib import Path

import pytest
import soundfile
import torch
from tiny import noise
from whispers import compute_in_double, save_whisper

from espnet_ext.asr.decode import beam_search_encoded, greedy_search_encoded
from espnet_ext.asr.losses import encode, evaluation_mode
from espnet_ext.asr.transcribe import transcribe
from espnet_ext.asr.waveforms import pad
from espnet_ext.data.model_files import find_model, model_kind
from espnet_ext.data.whisper_sizes import official_sizes
from espnet_ext.errors import InputError
from espnet_ext.tasks.loading import ASR_KIND, load_model
from espnet_ext.victims.recognizer import PyTorchESPnet

whisper = pytest.importorskip("whisper", reason="needs the package openai-whisper")
RATE = 16000


@pytest.fixture(scope="module", params=[False, True], ids=["english", "multilingual"])
def checkpoint(request, tmp_path_factory):
    return save_whisper(tmp_path_factory.mktemp("whisper") / "any.pt", request.param)


@pytest.fixture(scope="module")
def recognizer(checkpoint):
    return load_model(checkpoint, kind=ASR_KIND)


def test_a_checkpoint_is_found_by_its_prefix_its_name_or_its_directory(checkpoint):
    for given in (f"whisper:{checkpoint}", checkpoint, f"whisper:{checkpoint.parent}"):
        assert find_model(given)[:2] == (checkpoint, checkpoint)
        assert model_kind(given) == "asr"


def test_no_file_and_several_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        find_model(f"whisper:{tmp_path / 'tiny.pt'}")
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"2 files \*\.pt"):
        find_model(f"whisper:{tmp_path}")


def test_every_weight_is_that_of_the_checkpoint(checkpoint, recognizer):
    loaded = recognizer.model.state_dict()
    for name, value in torch.load(checkpoint)["model_state_dict"].items():
        side, rest = name.split(".", 1)
        assert torch.equal(loaded[f"{side}.{side}s.{rest}"], value.float())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"n_audio_layer": 2}, "n_audio_layer is 2, its tensors have 1"),
        ({"n_vocab": 10**9}, "n_vocab is 1000000000, its tensors have 51864"),
        ({"n_mels": "80"}, "n_mels is 80"),
    ],
)
def test_sizes_that_are_not_those_of_the_tensors_are_refused(tmp_path, change, problem):
    path = save_whisper(tmp_path / "a.pt")
    held = torch.load(path)
    torch.save({**held, "dims": {**held["dims"], **change}}, path)
    with pytest.raises(InputError, match=problem):
        load_model(path, kind=ASR_KIND)


def test_other_weights_are_no_whisper(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="not a checkpoint of Whisper"):
        load_model(tmp_path / "a.pt", kind=ASR_KIND)


def decoded(checkpoint: Path, wave: torch.Tensor) -> list[int]:
    """Tokens of openai-whisper's own greedy search."""
    reference = whisper.load_model(str(checkpoint)).float()
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.as_tensor(wave)))
    options = whisper.DecodingOptions(
        language="en", without_timestamps=True, suppress_blank=False, fp16=False
    )
    return list(whisper.decode(reference, mel, options).tokens)


def test_greedy_search_writes_the_tokens_of_openai_whisper(checkpoint, recognizer):
    waves = noise(RATE, RATE // 2, 2 * RATE)
    with evaluation_mode(recognizer.model) as model, torch.no_grad():
        found = greedy_search_encoded(model, *encode(model, *pad(waves, "cpu")), 0.0)
    assert found == [decoded(checkpoint, wave) for wave in waves]
    assert any(found)


def test_a_beam_begins_with_the_prompt(recognizer):
    with evaluation_mode(recognizer.model) as model, torch.no_grad():
        encoded = encode(model, *pad(noise(RATE), "cpu"))
        (found,) = beam_search_encoded(model, encoded[0][:, :3], encoded[1].clamp(max=3), 0.0, 2)
    assert not set(found) & {model.sos, *model.prompt}


@pytest.fixture
def in_double(monkeypatch, checkpoint):
    """The model in double precision."""
    recognizer = load_model(checkpoint, kind=ASR_KIND)
    compute_in_double(recognizer.model, monkeypatch)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield recognizer
    torch.set_default_dtype(before)


@pytest.mark.parametrize("goal", ["transcript", "not_reference", "silence"])
def test_the_gradient_is_that_of_finite_differences(in_double, goal):
    victim = PyTorchESPnet(in_double, 0.0, goal=goal)
    batch = victim.batch(["a"], noise(RATE), [""] if goal == "silence" else ["open the door"])
    objective, clean = victim.objective(batch), batch.inputs.double()
    with victim.attack_mode():
        inputs = clean.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(inputs, slice(None)).sum(), inputs)
        step = 1e-6 * gradient / gradient.norm()
        above, below = (objective(clean + s * step, slice(None)).item() for s in (1.0, -1.0))
    assert (above - below) / 2e-6 == pytest.approx(gradient.norm().item(), rel=1e-3)


def test_an_utterance_alone_is_that_in_a_batch(recognizer):
    waves = noise(RATE, RATE // 2)
    victim = PyTorchESPnet(recognizer, 0.0)
    texts = ["open the door", "close it"]
    with victim.attack_mode():
        together = victim.batch(["a", "b"], waves, texts)
        loss = victim.objective(together)(together.inputs, slice(None))[1]
        alone = victim.batch(["b"], waves[1:], texts[1:])
        assert loss.item() == pytest.approx(
            victim.objective(alone)(alone.inputs, slice(None)).item()
        )


def test_the_loss_does_not_count_the_prompt(recognizer):
    victim = PyTorchESPnet(recognizer, 0.0)
    targets = victim.targets(["open the door"])
    prompt = recognizer.model.prompt
    assert targets.decoder_in[0, 1 : 1 + len(prompt)].tolist() == [*prompt]
    assert set(targets.decoder_out[0, : len(prompt)].tolist()) == {recognizer.model.ignore_id}


def test_texts_are_compared_as_whisper_s_authors_do(recognizer):
    text = recognizer.text
    ids = text.encode("Mr. Smith's twenty colours!")
    assert text.normal("Mr. Smith's twenty colours!") == "mister smith is 20 colors"
    assert text.decode([*ids, text.whisper.timestamp_begin]) == "mister smith is 20 colors"
    with pytest.raises(InputError, match="no word"):
        text.encode("?!")


def test_audio_of_more_than_30_seconds_is_refused(recognizer, tmp_path):
    victim = PyTorchESPnet(recognizer, 0.0)
    assert victim.problem(30 * RATE, "a") is None
    assert "too long: 31.0 s" in victim.problem(31 * RATE, "a")
    assert "Whisper writes 224 at most" in victim.problem(RATE, "word " * 300)
    soundfile.write(tmp_path / "a.wav", noise(31 * RATE)[0], RATE)
    with pytest.raises(
        InputError, match=r"utterance a: 31\.0 s, the model hears the first 30\.0 s"
    ):
        transcribe(recognizer, {"a": str(tmp_path / "a.wav")}, 0.0)


def test_sizes_are_those_of_openai():
    sizes = official_sizes("large-v3")
    assert sizes["n_mels"] == 128 and sizes["n_vocab"] == 51866 and sizes["n_text_layer"] == 32
    assert official_sizes("turbo")["n_text_layer"] == 4
    for name in ("large.en", "small-v2", "huge", "large-v9"):
        assert official_sizes(name) is None
