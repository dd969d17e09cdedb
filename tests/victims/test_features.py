import math

import pytest
import torch
from tiny_cm import cm_model
from tiny_countermeasure import DIMS, model, padded, utterances

from espnet_ext.data.audio import read_audio
from espnet_ext.errors import InputError
from espnet_ext.frontend.normalize import FixedNormalize
from espnet_ext.frontend.spectrogram import DecibelFrontend
from espnet_ext.victims.features import NEPER, FeatureSpace, measure_space, static_dimensions


def batches(count=8):
    waves, _ = utterances(count)
    return [padded(waves[i : i + 3]) for i in range(0, count, 3)]


def frames_of(net, batches, normalized):
    """All frames of all utterances, without padding."""
    rows = []
    for speech, lengths in batches:
        feats, frames = (net.features if normalized else net.frontend)(speech, lengths)
        rows += [row[:count] for row, count in zip(feats, frames.tolist(), strict=True)]
    return rows


def test_deviations_are_those_of_all_frames():
    for variance in (False, True):
        net = model(variance=variance)
        space = measure_space(net, batches())
        expected = torch.cat(frames_of(net, batches(), True)).std(dim=0, correction=0)
        torch.testing.assert_close(space.std, expected, rtol=1e-4, atol=1e-5)
    assert space.static == DIMS // 2
    torch.testing.assert_close(space.std, torch.ones(DIMS), rtol=1e-3, atol=1e-3)


def test_a_step_in_the_natural_logarithm_of_power_is_4_34_decibels():
    space = measure_space(model(variance=False), batches())
    torch.testing.assert_close(space.decibels, torch.full((DIMS,), 4.342945))
    assert pytest.approx(10.0 / math.log(10.0)) == NEPER


def test_normalised_features_are_measured_in_each_utterance_s_own_deviation():
    net = model(variance=True)
    space = measure_space(net, batches())
    raw = torch.stack([row.std(dim=0, correction=0) for row in frames_of(net, batches(), False)])
    torch.testing.assert_close(space.decibels, NEPER * raw.mean(dim=0), rtol=1e-3, atol=1e-4)
    stated = space.state(0.5, "std")
    assert stated["std"] == pytest.approx(0.5)
    assert stated["db"] == pytest.approx(
        float(0.5 * NEPER * (raw.mean(dim=0) * space.std)[: DIMS // 2].mean()), rel=1e-3
    )


def test_decibels_stay_decibels_behind_a_fixed_normalisation():
    net = cm_model(
        frontend="spectrogram",
        frontend_conf={"fs": 8000, "n_fft": 64, "win_length": 64, "hop_length": 32},
        normalize="fixed",
        normalize_conf={"shift": -30.0, "scale": 10.0},
    ).eval()
    assert isinstance(net.frontend, DecibelFrontend) and isinstance(net.normalize, FixedNormalize)
    space = measure_space(net, batches())
    torch.testing.assert_close(space.decibels, torch.full_like(space.std, 10.0))
    assert space.state(6.0, "db")["raw"] == pytest.approx(0.6)
    assert space.static == len(space.std) == static_dimensions(net.frontend)


def test_one_epsilon_in_three_units():
    space = FeatureSpace(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([4.0, 4.0, 1.0]), 2)
    assert space.state(0.5, "std") == {"std": 0.5, "db": 3.0, "raw": 0.75}
    assert space.state(2.0, "db") == {"std": 0.375, "db": 2.0, "raw": 0.5}
    assert space.state(1.0, "raw") == {"std": 0.75, "db": 4.0, "raw": 1.0}
    assert torch.equal(space.scale("std"), space.std) and space.scale("raw") == 1.0


def test_features_without_decibels_say_so():
    space = FeatureSpace(torch.ones(3), None, 3)
    assert space.state(1.0, "std") == {"std": 1.0, "db": None, "raw": 1.0}
    with pytest.raises(InputError, match="no decibels of powers"):
        space.scale("db")
    with pytest.raises(InputError, match="std, db, raw"):
        space.scale("sigma")


def test_cepstra_have_no_decibels():
    net = cm_model(frontend="lfcc", frontend_conf={"fs": 8000}).eval()
    assert measure_space(net, batches()).decibels is None


def test_a_constant_dimension_is_refused():
    net = model(variance=False)
    net.normalize.forward = lambda x, lengths: (x * (torch.arange(DIMS) != 3), lengths)
    with pytest.raises(InputError, match=r"dimensions \[3\] .* constant"):
        measure_space(net, batches())


def test_json_keeps_six_digits():
    space = FeatureSpace(torch.tensor([1.23456789]), torch.tensor([2.0]), 1)
    again = FeatureSpace.from_json(space.to_json())
    assert space.to_json() == {"std": [1.23457], "decibels": [2.0], "static": 1}
    assert again.to_json() == space.to_json()
    assert FeatureSpace.from_json(FeatureSpace(space.std, None, 1).to_json()).decibels is None


def test_on_real_speech_a_deviation_of_mel_is_about_14_decibels(shared_data):
    # Of the log-mel features of Mockingjay, 3.15 nepers of power, in a study of this data.
    paths = sorted((shared_data / "cm_small/LA/ASVspoof2019_LA_eval/flac").glob("*.flac"))[::40]
    net = cm_model(frontend="mel", frontend_conf={}, normalize_conf={"variance": True}).eval()
    waves = [read_audio(path, sample_rate=16000)[0] for path in paths]
    space = measure_space(net, [padded([wave]) for wave in waves])
    stated = space.state(1.0, "std")
    assert stated["std"] == pytest.approx(1.0, abs=0.01)
    assert stated["db"] == pytest.approx(13.7, abs=2.0)
    assert space.static == 80 and len(space.std) == 160
