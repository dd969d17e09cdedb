import librosa
import numpy as np
import pytest
import torch

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import deltas, is_inside, pad_both_ends, sample_rate, zero_padding
from espnet_ext.frontend.lfcc import LFCCFrontend
from espnet_ext.frontend.mel import MelFrontend
from espnet_ext.frontend.spectrogram import DecibelFrontend, LinearFrontend


@pytest.mark.parametrize(("given", "rate"), [(8000, 8000), ("16k", 16000), ("44100", 44100)])
def test_sample_rate_is_read_as_espnet_writes_it(given, rate):
    assert sample_rate(given) == rate


def test_sample_rate_that_is_none_is_refused():
    with pytest.raises(InputError, match="sample rate: fast"):
        sample_rate("fast")


def test_padding_is_set_to_zero_in_a_new_tensor():
    feats = torch.ones(2, 3, 1)
    zeroed = zero_padding(feats, torch.tensor([1, 3]))
    assert zeroed[..., 0].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert feats.eq(1).all()
    assert is_inside(torch.tensor([0, 2]), 2).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("length", [1, 2, 5, 9, 30])
def test_each_utterance_is_padded_at_its_own_ends(mode, length):
    speech = torch.arange(1.0, 31.0).expand(2, -1).clone()
    padded = pad_both_ends(speech, torch.tensor([length, 30]), 8, mode)
    for row, n in ((0, length), (1, 30)):
        expected = np.pad(speech[row, :n].numpy(), 8, mode=mode)
        assert padded[row, : n + 16].tolist() == expected.tolist()
        assert padded[row, n + 16 :].eq(0).all()


@pytest.mark.parametrize("window", [3, 5, 9])
def test_deltas_are_those_of_librosa(window):
    feats = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    expected = librosa.feature.delta(feats, width=window, axis=0)
    found = deltas(torch.from_numpy(feats)[None], torch.tensor([40]), window)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_deltas_of_a_shorter_utterance_do_not_see_the_padding():
    feats = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(1))
    alone = deltas(feats[:1, :12], torch.tensor([12]))
    together = deltas(feats, torch.tensor([12, 30]))
    torch.testing.assert_close(together[:1, :12], alone)


@pytest.mark.parametrize("frames", [1, 2, 4, 8])
def test_deltas_of_few_frames_are_the_slope_through_all(frames):
    feats = torch.zeros(2, 20, 1)
    feats[0, :frames, 0] = 3.0 * torch.arange(frames) + 5.0
    feats[0, frames:] = 99.0
    found = deltas(feats, torch.tensor([frames, 20]))[0, :frames]
    expected = 0.0 if frames == 1 else 3.0
    torch.testing.assert_close(found, torch.full((frames, 1), expected))


@pytest.mark.parametrize("kind", [MelFrontend, LFCCFrontend, DecibelFrontend, LinearFrontend])
def test_features_do_not_change_in_mixed_precision(kind):
    speech = 0.1 * torch.randn(1, 3000, generator=torch.Generator().manual_seed(0))
    frontend, lengths = kind(), torch.tensor([3000])
    expected, _ = frontend(speech, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = frontend(speech, lengths)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
