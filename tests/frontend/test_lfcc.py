import numpy as np
import pytest
import scipy.fft
import torch
from tiny import noise

from espnet_ext.frontend.frames import deltas
from espnet_ext.frontend.lfcc import LFCCFrontend


def one(frontend, samples):
    feats, _ = frontend(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    return feats[0]


def reference(samples, fmax):
    """Static coefficients, written out with NumPy."""
    padded = np.pad(samples, 512, mode="reflect")
    window = np.zeros(1024)
    window[352:672] = np.hanning(321)[:-1]
    starts = range(0, len(padded) - 1023, 160)
    power = np.abs(np.stack([np.fft.rfft(window * padded[s : s + 1024]) for s in starts])) ** 2
    edges, bins = np.linspace(0, fmax, 22), np.linspace(0, 8000, 513)
    filters = [np.interp(bins, edges[i : i + 3], [0, 1, 0], 0, 0) for i in range(20)]
    return scipy.fft.dct(np.log(power @ np.array(filters).T + 1e-6), norm="ortho")


@pytest.mark.parametrize("fmax", [8000.0, 4000.0])
def test_coefficients_are_the_cosine_transform_of_linear_bands(fmax):
    (samples,) = noise(6000)
    found = one(LFCCFrontend(fmax=fmax, deltas=0), samples)
    np.testing.assert_allclose(found.numpy(), reference(samples, fmax), atol=1e-3)


def test_deltas_and_their_deltas_are_appended():
    (samples,) = noise(6000)
    static, all_three = one(LFCCFrontend(deltas=0), samples), one(LFCCFrontend(), samples)
    frames = torch.tensor([len(static)])
    first = deltas(static[None], frames)
    second = deltas(first, frames)
    torch.testing.assert_close(all_three, torch.cat([static[None], first, second], dim=-1)[0])
    assert LFCCFrontend(deltas=1).output_size() == 40


def test_loud_utterance_does_not_change_a_quiet_one():
    (quiet,), (loud,) = noise(3000, level=1e-4), noise(5000, level=0.5)
    batch = torch.zeros(2, 5000)
    batch[0, :3000], batch[1] = torch.from_numpy(quiet), torch.from_numpy(loud)
    frontend = LFCCFrontend()
    feats, frames = frontend(batch, torch.tensor([3000, 5000]))
    torch.testing.assert_close(feats[0, : frames[0]], one(frontend, quiet), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.1], ids=["silence", "noise"])
def test_gradient_reaches_the_waveform(level):
    speech = torch.from_numpy(noise(3000, level=level)[0])[None].requires_grad_()
    feats, _ = LFCCFrontend()(speech, torch.tensor([3000]))
    (gradient,) = torch.autograd.grad(feats.square().sum(), speech)
    assert gradient.isfinite().all()
    assert gradient.ne(0).any() == (level > 0)
