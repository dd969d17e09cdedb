import librosa
import numpy as np
import pytest
import torch
from tiny import noise

from espnet_ext.errors import InputError
from espnet_ext.frontend.spectrogram import DecibelFrontend, LinearFrontend


def one(frontend, samples):
    feats, frames = frontend(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    assert frames.tolist() == [feats.size(1)]
    return feats[0]


@pytest.mark.parametrize(("size", "hop"), [(512, 200), (1724, 130)])
def test_decibels_are_those_of_librosa(size, hop):
    (samples,) = noise(9000)
    spectrum = librosa.stft(
        samples, n_fft=size, hop_length=hop, window="blackman", pad_mode="reflect"
    )
    expected = 10 * np.log10(np.abs(spectrum) ** 2 + 1e-10).T
    found = one(DecibelFrontend(n_fft=size, win_length=size, hop_length=hop), samples)
    assert found.shape[1] == size // 2 + 1
    np.testing.assert_allclose(found.numpy(), expected, atol=0.01)


def test_band_leaves_out_bins():
    (samples,) = noise(3000)
    whole = DecibelFrontend(n_fft=512)
    band = DecibelFrontend(n_fft=512, fmin=1000.0, fmax=4000.0)
    assert band.output_size() == 97  # bins 32 to 128 of 31.25 Hz
    torch.testing.assert_close(one(band, samples), one(whole, samples)[:, 32:129])


def test_silence_is_the_floor():
    feats = one(DecibelFrontend(floor=1e-8), np.zeros(2000, dtype=np.float32))
    torch.testing.assert_close(feats, torch.full_like(feats, -80.0))


@pytest.mark.parametrize("frontend", [DecibelFrontend(), LinearFrontend()], ids=["dB", "linear"])
def test_utterance_is_the_same_in_any_batch(frontend):
    short, long = noise(2100, 7000)
    batch = torch.zeros(2, 7000)
    batch[0, :2100], batch[1] = torch.from_numpy(short), torch.from_numpy(long)
    feats, frames = frontend(batch, torch.tensor([2100, 7000]))
    torch.testing.assert_close(feats[0, : frames[0]], one(frontend, short), rtol=1e-3, atol=1e-3)
    assert feats[0, frames[0] :].eq(0).all()


@pytest.mark.parametrize("frontend", [DecibelFrontend(), LinearFrontend()], ids=["dB", "linear"])
@pytest.mark.parametrize("level", [0.0, 0.1], ids=["silence", "noise"])
def test_gradient_reaches_the_waveform(frontend, level):
    speech = torch.from_numpy(noise(3000, level=level)[0])[None].requires_grad_()
    feats, _ = frontend(speech, torch.tensor([3000]))
    (gradient,) = torch.autograd.grad(feats.sum(), speech)
    assert gradient.isfinite().all()
    assert gradient.ne(0).any() == (level > 0)


def test_linear_spectrogram_is_scaled_as_the_original():
    (samples,) = noise(5000)
    emphasised = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    spectrum = librosa.stft(
        emphasised, n_fft=2048, hop_length=200, win_length=800, pad_mode="reflect"
    )
    decibel = 20 * np.log10(np.maximum(1e-5, np.abs(spectrum))) - 20
    expected = np.clip((decibel + 100) / 100, 0, 1).T
    found = one(LinearFrontend(), samples)
    assert found.shape[1] == LinearFrontend().output_size() == 1025
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_unknown_window_is_refused():
    with pytest.raises(InputError, match="blackman, not kaiser"):
        DecibelFrontend(window="kaiser")
