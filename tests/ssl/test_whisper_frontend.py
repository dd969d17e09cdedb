"""Whisper's encoder as the front end of a countermeasure."""

import pytest
import torch
from tiny import noise
from tiny_cm import cm_arguments, cm_config
from whispers import save_whisper

from espnet_ext.errors import InputError
from espnet_ext.ssl.whisper import WhisperFrontend, portable
from espnet_ext.tasks.countermeasure import CountermeasureTask

whisper = pytest.importorskip("whisper", reason="makes checkpoints and the reference")

TINY = {"n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 2}


@pytest.fixture
def checkpoint(tmp_path):
    return str(save_whisper(tmp_path / "own.pt", n_audio_layer=2, n_audio_ctx=25))


@pytest.fixture
def frontend():
    torch.manual_seed(0)
    return WhisperFrontend(encoder_conf=TINY)


def test_states_are_those_of_openai(checkpoint):
    """Half a second, which is all that this encoder takes: its own classes have no padding."""
    speech = torch.from_numpy(noise(8000)[0])[None]
    states, lengths = WhisperFrontend(checkpoint=checkpoint)(speech, torch.tensor([8000]))
    reference = whisper.load_model(checkpoint, "cpu").float().encoder
    mels = whisper.log_mel_spectrogram(speech[0])[None]
    assert states.shape == (1, 25, 16) and lengths.tolist() == [25]
    torch.testing.assert_close(states, reference(mels), rtol=1e-4, atol=1e-4)


def test_an_utterance_alone_has_the_states_that_it_has_in_a_batch(frontend):
    sizes = torch.tensor([9000, 100, 5000, 4960])
    speech = torch.from_numpy(noise(4 * 9000)[0]).view(4, 9000)
    speech = speech.masked_fill(torch.arange(9000) >= sizes[:, None], 0.0)
    states, lengths = frontend(speech, sizes)
    assert lengths.tolist() == [28, 1, 16, 16]
    for row, size in enumerate(sizes):
        alone, length = frontend(speech[row : row + 1, :size], size[None])
        assert length == lengths[row] == alone.size(1)
        torch.testing.assert_close(states[row, :length], alone[0], rtol=1e-4, atol=1e-5)
        assert not states[row, length:].any()


def test_the_gradient_is_that_of_finite_differences(frontend):
    frontend = WhisperFrontend(encoder_conf=TINY, layer="weighted").double()
    speech = torch.from_numpy(noise(3200)[0])[None].double().requires_grad_()
    lengths, direction = torch.tensor([3200]), torch.randn(1, 3200).double()
    weight = torch.randn(10, 16).double()

    def value(wave):
        return (frontend(wave, lengths)[0] * weight).sum()

    (gradient,) = torch.autograd.grad(value(speech), speech)
    step = 1e-6 * direction
    difference = (value(speech + step) - value(speech - step)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize(("layer", "trained"), [("weighted", {"weights"}), (1, set())])
def test_what_learns(layer, trained, frozen):
    frontend = WhisperFrontend(encoder_conf=TINY, layer=layer, frozen=frozen).train()
    assert frontend.upstream.encoder.training is not frozen
    states, _ = frontend(torch.randn(2, 3200), torch.tensor([3200, 3000]))
    if not frozen or trained:
        states.pow(2).sum().backward()
    learning = {n for n, p in frontend.named_parameters() if p.requires_grad}
    assert learning == {n for n, p in frontend.named_parameters() if p.grad is not None}
    heads = {name.removeprefix("upstream.").split(".")[0] for name in learning}
    assert heads == trained | (set() if frozen else {"encoder"})


def test_layers_are_those_of_the_encoder_and_their_mean(frontend):
    speech, lengths = torch.randn(1, 3200), torch.tensor([3200])
    own = frontend.state_dict()
    states = []
    for layer in (0, 1, 2, "last", "weighted"):
        other = WhisperFrontend(encoder_conf=TINY, layer=layer)
        other.load_state_dict(own, strict=layer != "weighted")
        states.append(other(speech, lengths)[0])
    torch.testing.assert_close(states[2], states[3])
    torch.testing.assert_close(torch.stack(states[:3]).mean(0), states[4])


def test_speech_beyond_thirty_seconds_has_no_states():
    frontend = WhisperFrontend(encoder_conf={**TINY, "n_audio_ctx": 10})
    states, lengths = frontend(torch.randn(2, 8000), torch.tensor([8000, 1600]))
    assert states.shape == (2, 10, 16) and lengths.tolist() == [10, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fs": 8000}, "speech at 16000 Hz"),
        ({"whisper_model": "tiny.fr"}, "tiny.fr is none of OpenAI's"),
        ({"layer": 7}, "0 to 4, not 7"),
        ({"checkpoint": "no.pt"}, "no such checkpoint"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        WhisperFrontend(**options)


def test_other_sizes_than_those_of_the_checkpoint_are_refused(checkpoint):
    with pytest.raises(InputError, match="another n_audio_layer; leave encoder_conf out"):
        WhisperFrontend(checkpoint=checkpoint, encoder_conf={"n_audio_layer": 1})


@pytest.mark.parametrize(
    ("encoder", "conf", "frames"),
    [
        ("lcnn", {"channels": [4, 4, 4, 4, 4, 8]}, 16),
        ("senet", {"layers": [1, 1, 1, 1]}, 16),
        ("aasist", {"channels": [4, 6], "graph_size": 4, "projection": 12}, 16),
    ],
)
def test_a_countermeasure_needs_no_checkpoint_once_it_is_built(checkpoint, encoder, conf, frames):
    arguments = cm_arguments(
        {
            **cm_config(),
            "frontend": "whisper",
            "frontend_conf": {"checkpoint": checkpoint, "fs": "16k"},
            "normalize": None,
            "encoder": encoder,
            "encoder_conf": conf,
            "segment_conf": {"num_frames": frames},
        }
    )
    model = CountermeasureTask.build_model(arguments).eval()
    assert arguments.frontend_conf["pretrained_from"] == "own.pt"
    assert "checkpoint" not in arguments.frontend_conf
    again = CountermeasureTask.build_model(arguments).eval()
    again.load_state_dict(model.state_dict())
    speech, lengths = torch.randn(2, 6400, requires_grad=True), torch.tensor([6400, 5000])
    logits = model.logits(*model.features(speech, lengths))
    torch.testing.assert_close(again.logits(*again.features(speech, lengths)), logits)
    logits[:, 0].sum().backward()
    assert speech.grad.ne(0).any(dim=1).all()
    assert portable({"layer": 1}) == {"layer": 1}
