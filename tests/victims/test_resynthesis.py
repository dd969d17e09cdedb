import itertools

import numpy as np
import pytest
import torch
from tiny_cm import cm_model
from tiny_countermeasure import model, padded, utterances

from espnet_ext.victims.resynthesis import Resynthesis, can_resynthesize

SPECTROGRAM = {
    "frontend": "spectrogram",
    "frontend_conf": {"fs": 8000, "n_fft": 256, "win_length": 256, "hop_length": 64},
}


def resynthesis_snr(net, speech, lengths, feats, frames):
    return Resynthesis(net, speech, lengths).snr(feats, frames)


def decibel_model(**changes):
    return cm_model(**SPECTROGRAM, **{"normalize": None, **changes}).eval()


def batch(count=3):
    return padded(utterances(count)[0])


def moved(net, speech, lengths, change):
    """Features and their lengths, each changed by `change` in the attacked space."""
    with torch.no_grad():
        feats, frames = net.features(speech, lengths)
    return feats + change, frames


@pytest.mark.parametrize("decibels", [-6.0, 1.0, 6.0])
def test_a_louder_spectrum_is_a_louder_waveform(decibels):
    net = decibel_model()
    speech, lengths = batch()
    found = resynthesis_snr(net, speech, lengths, *moved(net, speech, lengths, decibels))
    expected = -20.0 * np.log10(abs(10.0 ** (decibels / 20.0) - 1.0))
    # Exact where every sample is covered; the last samples are not.
    assert found == pytest.approx([expected] * 3, abs=0.1)


def test_normalisation_is_undone():
    speech, lengths = batch()
    expected = resynthesis_snr(
        decibel_model(), speech, lengths, *moved(decibel_model(), speech, lengths, 3.0)
    )
    conf = {"shift": -40.0, "scale": 10.0}
    fixed = decibel_model(normalize="fixed", normalize_conf=conf)
    found = resynthesis_snr(fixed, speech, lengths, *moved(fixed, speech, lengths, 0.3))
    assert found == pytest.approx(expected, abs=1e-3)
    by_variance = model(variance=True)
    plain = model(variance=False)
    with torch.no_grad():
        raw, frames = plain.frontend(speech, lengths)
    for row, count in enumerate(frames.tolist()):
        deviation = raw[row, :count].std(dim=0, correction=0)
        one = speech[row : row + 1, : lengths[row]], lengths[row : row + 1]
        a = resynthesis_snr(plain, *one, *moved(plain, *one, 0.2 * deviation))
        b = resynthesis_snr(by_variance, *one, *moved(by_variance, *one, 0.2))
        assert a == pytest.approx(b, abs=0.05)


def test_mel_bands_all_raised_by_one_neper_are_4_34_decibels():
    net = model(variance=False)
    speech, lengths = batch()
    found = resynthesis_snr(net, speech, lengths, *moved(net, speech, lengths, 1.0))
    # Bins under no triangle (0 Hz and half the rate) stay as they are.
    assert found == pytest.approx([-20.0 * np.log10(10.0 ** (4.3429 / 20.0) - 1.0)] * 3, abs=0.3)


def test_deltas_are_not_heard():
    net = model(variance=False)
    speech, lengths = batch(1)
    change = torch.zeros(16)
    change[8:] = 5.0
    assert resynthesis_snr(net, speech, lengths, *moved(net, speech, lengths, change)) == [None]


def test_more_is_louder_and_enormous_changes_are_finite():
    net = decibel_model()
    speech, lengths = batch()
    generator = torch.Generator().manual_seed(0)
    feats, _ = moved(net, speech, lengths, 0.0)
    signs = torch.randn(feats.shape, generator=generator).sign()
    ratios = [
        resynthesis_snr(net, speech, lengths, *moved(net, speech, lengths, eps * signs))
        for eps in (0.5, 2.0, 8.0, 500.0, 1e6)
    ]
    for less, more in itertools.pairwise(ratios[:4]):
        assert all(a > b for a, b in zip(less, more, strict=True))
    assert np.isfinite(ratios).all()


def test_an_utterance_has_the_same_ratio_alone_and_cut_features_count_their_own_part():
    net = decibel_model()
    speech, lengths = batch()
    feats, frames = moved(net, speech, lengths, 3.0)
    together = resynthesis_snr(net, speech, lengths, feats, frames)
    alone = speech[1:2, : lengths[1]], lengths[1:2]
    assert resynthesis_snr(net, *alone, feats[1:2, : frames[1]], frames[1:2]) == pytest.approx(
        together[1:2], abs=1e-3
    )
    cut = resynthesis_snr(net, speech, lengths, feats[:, :20], torch.full((3,), 20))
    assert cut == pytest.approx(together, abs=0.3)
    longer = torch.cat([feats, feats], dim=1)
    assert resynthesis_snr(net, speech, lengths, longer, 2 * frames) == pytest.approx(together)


def test_only_powers_of_a_spectrum_can_be_resynthesised():
    assert can_resynthesize(model()) and can_resynthesize(decibel_model())
    assert not can_resynthesize(cm_model(frontend="lfcc", frontend_conf={"fs": 8000}))
