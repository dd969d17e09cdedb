import pytest
import torch
from tiny import ENCODERS, RATE, noise, tiny_model

from espnet_ext.asr.batching import exact_batching
from espnet_ext.asr.lengths import EncoderFrames
from espnet_ext.asr.losses import encode, frozen
from espnet_ext.errors import InputError

OTHERS = {
    "conformer": {"rel_pos_type": "latest", "cnn_module_kernel": 7, "input_layer": "conv2d6"},
    "vgg_rnn": {"hidden_size": 16, "num_layers": 1},
    "contextual_block_transformer": {"attention_heads": 2, "linear_units": 32, "num_blocks": 1},
}
MODELS = [*((name, None) for name in ENCODERS), *OTHERS.items()]


@pytest.fixture(params=MODELS, ids=lambda chosen: f"{chosen[0]}{'' if chosen[1] is None else '+'}")
def model(request):
    name, conf = request.param
    return tiny_model(encoder=name, encoder_conf=conf).eval()


def encoded(model, samples):
    speech = torch.from_numpy(noise(samples)[0]).unsqueeze(0)
    with torch.no_grad(), frozen(model), exact_batching(model):
        return encode(model, speech, torch.tensor([samples]))


def test_the_shortest_utterance_can_be_encoded_and_a_shorter_one_cannot(model):
    frames = EncoderFrames(model, RATE)
    out, lengths = encoded(model, frames.shortest)
    assert out.size(1) >= int(lengths[0]) == frames.of(frames.shortest) >= 1
    assert frames.of(frames.shortest - 1) == 0
    assert frames.too_short(frames.shortest) is None
    assert f"the model needs {frames.shortest}" in frames.too_short(frames.shortest - 1)
    try:
        _, lengths = encoded(model, frames.shortest - 1)
    except Exception:
        return
    assert int(lengths[0]) < 1


def test_frames_are_those_of_the_model(model):
    frames = EncoderFrames(model, RATE)
    for samples in (4000, 8000, 12345):
        assert frames.of(samples) == int(encoded(model, samples)[1][0])


def test_few_utterances_answer_for_the_others(model, monkeypatch):
    frames = EncoderFrames(model, RATE)
    has = frames.of(8000)
    assert frames.shortest < 8000
    monkeypatch.setattr(frames, "_encode", None)  # any further use of the model would fail
    assert frames.reach(8000, has) and frames.reach(9000, has - 1)
    assert not frames.reach(8000, has + 1) and not frames.reach(7000, has + 1)


def test_a_model_that_can_encode_nothing_says_why(monkeypatch):
    model = tiny_model().eval()

    def broken(*_):
        raise RuntimeError("no package")

    monkeypatch.setattr(model, "encode", broken)
    with pytest.raises(InputError, match="no package"):
        EncoderFrames(model, RATE).of(8000)


def test_an_encoder_that_gives_no_frame_cannot_encode(monkeypatch):
    """There are some that raise nothing."""
    monkeypatch.setattr(EncoderFrames, "_encode", lambda self, samples: samples // 100)
    assert EncoderFrames(tiny_model(), RATE).shortest == 100
