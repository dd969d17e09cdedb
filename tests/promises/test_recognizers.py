"""What is promised of every family of recognizers."""

import functools

import numpy as np
import pytest
import torch
from espnet2.bin.asr_inference import Speech2Text
from espnet2.bin.s2t_inference import Speech2Text as MultilingualSpeech2Text
from espnet2.layers.sinc_conv import SincConv
from promises.recognizers import CHANGES, WHISPER, loaded, needs_whisper, random_model, rnnt_losses
from tiny import noise
from whispers import compute_in_double

from espnet_ext.asr.transducer import RNNTLoss
from espnet_ext.asr.waveforms import like
from espnet_ext.compat import transducer_loss
from espnet_ext.victims.recognizer import PyTorchESPnet

WAVES = noise(6000, 4000)
TEXTS = ["one two", "six"]

# Speech2Text decodes these otherwise, see `espnet_ext.asr.decode`.
OTHER_SEARCH = {"ctc_alone": "CTC alone is searched by prefixes, not by its best path"}
OTHER_SEARCH |= dict.fromkeys(
    (name for name in CHANGES if name.endswith("asr_transducer")),
    "the search of this task may never end, see espnet_ext.tasks.asr_transducer",
)
OTHER_SEARCH[WHISPER] = "ESPnet's tokenizer takes no current openai-whisper, see test_whisper.py"


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Configuration and weights of a family, made once."""

    @functools.cache
    def save(name):
        return random_model(name, tmp_path_factory.mktemp(name))

    return save


@pytest.fixture
def victim(saved, name):
    return PyTorchESPnet(loaded(name, *saved(name)))


every_family = pytest.mark.parametrize(
    "name", [*CHANGES, pytest.param(WHISPER, marks=needs_whisper)]
)


@pytest.fixture
def double(victim, monkeypatch):
    """Double precision: in single, models round by more than the error that is allowed."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(RNNTLoss, "forward", lambda _, *sizes: rnnt_losses(*sizes))
    model = victim.recognizer.model
    compute_in_double(model, monkeypatch)
    for module in model.modules():
        if isinstance(module, SincConv):
            module._x, module._window = module._x.double(), module._window.double()
    yield
    torch.set_default_dtype(torch.float32)


@every_family
def test_gradient_is_that_of_finite_differences(victim, double):
    speech = torch.tensor(WAVES[0], dtype=torch.float64)[None]
    lengths, targets = torch.tensor([6000]), victim.targets(TEXTS[:1])
    with victim.attack_mode():
        gradient, _ = victim.input_gradient(speech, lengths, targets)
        direction = gradient / gradient.norm()
        size = 1e-5
        losses = [
            victim.utterance_losses(speech + step * size * direction, lengths, targets).total
            for step in (-2, -1, 1, 2)
        ]
    far, near = losses[3] - losses[0], losses[2] - losses[1]
    slope = (8.0 * near - far) / (12.0 * size)
    assert float(gradient.norm()) == pytest.approx(float(slope), rel=1e-3)


@every_family
def test_an_utterance_alone_is_as_in_a_batch(victim):
    x = like([], WAVES)
    together = victim.loss_gradient(x, TEXTS)
    alone = [victim.loss_gradient(w[None], [t])[0] for w, t in zip(WAVES, TEXTS, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert np.linalg.norm(one - other) <= 1e-4 * np.linalg.norm(other)
    assert victim.predict(x).tolist() == [victim.predict(w[None])[0] for w in WAVES]


def stock_transcripts(name, config, weights):
    """What ESPnet's inference class of a family makes of `WAVES`, with a beam of 1."""
    if name.startswith("s2t"):  # of what such a model writes, the text
        stock = MultilingualSpeech2Text(config, weights, beam_size=1, ctc_weight=0.0)
        return [stock(wave)[0][3] for wave in WAVES]
    with transducer_loss(RNNTLoss):
        stock = Speech2Text(config, weights, beam_size=1, ctc_weight=0.0)
    # Of intermediate layers it tells, too.
    found = [best if isinstance(best, list) else best[0] for best in map(stock, WAVES)]
    return [best[0][0] for best in found]


@every_family
def test_greedy_transcripts_are_those_of_espnets_inference(saved, name):
    if name in OTHER_SEARCH:
        pytest.skip(OTHER_SEARCH[name])
    victim = PyTorchESPnet(loaded(name, *saved(name)), 0.0)
    expected = stock_transcripts(name, *saved(name))
    assert victim.predict(like([], WAVES)).tolist() == expected
    assert any(expected)
