import numpy as np
import pytest
import torch

from espnet_ext.frontend.choices import frontend_choices, normalize_choices
from espnet_ext.frontend.normalize import FixedNormalize, GlobalNormalize, UtteranceNormalize

LENGTHS = torch.tensor([7, 20])


@pytest.fixture
def feats():
    return 3.0 + 2.0 * torch.randn(2, 20, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("variance", [True, False])
def test_statistics_are_those_of_the_frames_of_the_utterance(feats, mean, variance):
    before = feats.clone()
    found, lengths = UtteranceNormalize(mean=mean, variance=variance)(feats, LENGTHS)
    assert torch.equal(lengths, LENGTHS)
    assert torch.equal(feats, before)
    for row, n in enumerate(LENGTHS):
        own = feats[row, :n]
        expected = own - own.mean(dim=0) if mean else own
        expected = expected / own.std(dim=0, correction=0) if variance else expected
        torch.testing.assert_close(found[row, :n], expected)
        assert found[row, n:].eq(0).all()


def test_constant_features_stay_finite_with_their_gradient():
    constant = torch.full((1, 10, 3), -13.8, requires_grad=True)
    found, _ = UtteranceNormalize(variance=True)(constant, torch.tensor([10]))
    (gradient,) = torch.autograd.grad(found.square().sum(), constant)
    assert found.abs().max() < 0.1
    assert gradient.isfinite().all()


def test_lengths_may_be_left_out(feats):
    for normalize in (UtteranceNormalize(), FixedNormalize(3.0, 2.0)):
        whole, lengths = normalize(feats)
        assert lengths.tolist() == [20, 20]
        torch.testing.assert_close(whole, normalize(feats, lengths)[0])


def test_global_statistics_leave_the_input_alone(tmp_path, feats):
    frames = feats.reshape(-1, 5).double().numpy()
    stats = {"count": len(frames), "sum": frames.sum(0), "sum_square": (frames**2).sum(0)}
    np.savez(tmp_path / "feats_stats.npz", **stats)
    before = feats.clone()
    found, _ = GlobalNormalize(str(tmp_path / "feats_stats.npz"))(feats, LENGTHS)
    assert torch.equal(feats, before)
    expected = (frames - frames.mean(0)) / frames.std(0)
    np.testing.assert_allclose(found[1].numpy(), expected.reshape(2, 20, 5)[1], atol=1e-4)
    assert found[0, 7:].eq(0).all()


def test_fixed_scale(feats):
    found, _ = FixedNormalize(shift=-40.0, scale=20.0)(feats, LENGTHS)
    torch.testing.assert_close(found[1], (feats[1] + 40.0) / 20.0)
    assert found[0, 7:].eq(0).all()


def test_choices_by_name():
    assert {"mel", "spectrogram", "lfcc"} <= set(frontend_choices.classes)
    assert set(normalize_choices.choices()) == {"utterance", "global", "fixed", None}
