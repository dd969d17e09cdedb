import librosa
import numpy as np
import pytest
import torch
from tiny import noise

from espnet_ext.errors import InputError
from espnet_ext.frontend.mel import MelFrontend


def features(frontend, *waveforms):
    """Each utterance's own frames, computed in one batch."""
    lengths = torch.tensor([len(w) for w in waveforms])
    rows = [torch.as_tensor(w) for w in waveforms]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    feats, frames = frontend(batch, lengths)
    return [row[:n] for row, n in zip(feats, frames, strict=True)]


def librosa_features(samples, fs=16000, floor=1e-6, **options):
    mel = librosa.feature.melspectrogram(y=samples, sr=fs, power=2.0, pad_mode="reflect", **options)
    log_mel = np.log(mel + floor)
    return np.concatenate([log_mel, librosa.feature.delta(log_mel)]).T


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_fft": 2048, "win_length": 800, "hop_length": 200, "n_mels": 80},
        {"n_fft": 400, "win_length": 400, "hop_length": 160, "n_mels": 80},
        {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 23, "fmin": 60.0},
    ],
    ids=["mockingjay", "25 ms", "band"],
)
def test_features_are_those_of_librosa(sizes):
    (samples,) = noise(12345)
    (found,) = features(MelFrontend(**sizes), samples)
    np.testing.assert_allclose(found.numpy(), librosa_features(samples, **sizes), atol=1e-4)


def test_features_of_real_speech_are_those_of_librosa(shared_data):
    path = sorted((shared_data / "cm_small").rglob("*.flac"))[0]
    samples, rate = librosa.load(path, sr=16000)
    (found,) = features(MelFrontend(), samples)
    sizes = {"n_fft": 2048, "win_length": 800, "hop_length": 200, "n_mels": 80}
    np.testing.assert_allclose(found.numpy(), librosa_features(samples, rate, **sizes), atol=1e-4)


def test_deltas_can_be_left_out():
    (samples,) = noise(3000)
    with_deltas, without = MelFrontend(), MelFrontend(deltas=False)
    assert (with_deltas.output_size(), without.output_size()) == (160, 80)
    (long,), (short,) = features(with_deltas, samples), features(without, samples)
    assert torch.equal(long[:, :80], short)


def test_utterance_is_the_same_in_any_batch():
    short, long = noise(2100, 7000)
    frontend = MelFrontend()
    together = features(frontend, short, long)
    torch.testing.assert_close(together[0], features(frontend, short)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together[1], features(frontend, long)[0], rtol=1e-4, atol=1e-4)
    feats, frames = frontend(torch.zeros(2, 7000), torch.tensor([2100, 7000]))
    assert frames.tolist() == [11, 36]
    assert feats.shape == (2, 36, 160)
    assert feats[0, 11:].eq(0).all()


@pytest.mark.parametrize("level", [0.0, 0.1], ids=["silence", "noise"])
def test_gradient_reaches_the_waveform(level):
    speech = torch.from_numpy(noise(4000, level=level)[0])[None].requires_grad_()
    feats, _ = MelFrontend()(speech, torch.tensor([4000]))
    (gradient,) = torch.autograd.grad(feats.square().sum(), speech)
    assert feats.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.ne(0).any() == (level > 0)


def test_shortest_utterance_has_features():
    (found,) = features(MelFrontend(), np.array([0.5], dtype=np.float32))
    assert found.shape == (1, 160)
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmax": 9000.0}, "half the sample rate, 8000"),
        ({"fmin": 4000.0, "fmax": 3000.0}, "fmin 4000"),
        ({"delta_window": 4}, "odd"),
        ({"win_length": 4096}, "win_length 4096"),
        ({"n_fft": 2049}, "even"),
        ({"pad_mode": "mirror"}, "reflect, constant"),
        ({"fs": "fast"}, "sample rate"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        MelFrontend(**options)


def test_weights_of_a_front_end_are_not_saved():
    assert not MelFrontend().state_dict()
