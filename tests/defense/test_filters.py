import numpy as np
import pytest
import torch
from scipy import ndimage

import espnet_ext.defense
from espnet_ext.defense import SmoothingFilter, straight_through
from espnet_ext.defense.filters import FILTERS, SIZES, mirror_pad
from espnet_ext.errors import InputError

SIGMA = 1.3


def features(*lengths, dims=9, seed=0):
    """A batch whose padding is not zero, so that a leak would be seen."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(lengths), max(lengths), dims, generator=generator), torch.tensor(lengths)


def by_scipy(feats, kind, size):
    if kind == "median":
        return ndimage.median_filter(feats, size=size, mode="mirror")
    if kind == "mean":
        return ndimage.uniform_filter(feats, size=size, mode="mirror")
    return ndimage.gaussian_filter(feats, SIGMA, radius=size // 2, mode="mirror")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", FILTERS)
def test_every_utterance_is_filtered_as_scipy_filters_it_alone(kind, size):
    feats, lengths = features(20, 12, 8)
    found, found_lengths = SmoothingFilter(9, kind, size, SIGMA)(feats, lengths)
    assert torch.equal(found_lengths, lengths)
    for row, length in enumerate([20, 12, 8]):
        expected = by_scipy(feats[row, :length].numpy(), kind, size)
        np.testing.assert_allclose(found[row, :length].numpy(), expected, atol=2e-6)
        assert (found[row, length:] == 0.0).all()


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_an_utterance_shorter_than_the_window_is_reflected_again(kind, frames):
    feats, lengths = features(6, frames)
    found, _ = SmoothingFilter(9, kind, 7, SIGMA)(feats, lengths)
    expected = by_scipy(feats[1, :frames].numpy(), kind, 7)
    np.testing.assert_allclose(found[1, :frames].numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("kind", FILTERS)
def test_neither_values_nor_gradients_cross_the_end_of_an_utterance(kind):
    feats, lengths = features(15, 7)
    smooth = SmoothingFilter(9, kind, 5)
    other = feats.clone()
    other[1, 7:] = 1e6
    assert torch.equal(smooth(other, lengths)[0], smooth(feats, lengths)[0])
    feats.requires_grad_()
    weights = torch.randn(feats.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((smooth(feats, lengths)[0] * weights).sum(), feats)
    assert (gradient[1, 7:] == 0.0).all() and (gradient[1, :7] != 0.0).any()


@pytest.mark.parametrize("kind", FILTERS)
def test_gradients_are_those_of_finite_differences(kind):
    smooth = SmoothingFilter(4, kind, 3)
    feats, lengths = features(6, 5, dims=4)
    feats = feats.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: smooth(x, lengths)[0], (feats,))


def test_a_constant_stays_as_it_is():
    feats, lengths = torch.full((1, 10, 9), 3.0), torch.tensor([10])
    for kind in FILTERS:
        torch.testing.assert_close(SmoothingFilter(9, kind, 7)(feats, lengths)[0], feats)


def test_a_single_outlier_is_removed_by_the_median_and_spread_by_the_mean():
    feats, lengths = torch.zeros(1, 9, 9), torch.tensor([9])
    feats[0, 4, 4] = 9.0
    assert (SmoothingFilter(9, "median", 3)(feats, lengths)[0] == 0.0).all()
    mean = SmoothingFilter(9, "mean", 3)(feats, lengths)[0]
    torch.testing.assert_close(mean[0, 3:6, 3:6], torch.ones(3, 3))
    assert float(mean.abs().sum()) == pytest.approx(9.0)


def test_blocks_of_dimensions_are_filtered_apart():
    feats, lengths = features(12, 6, dims=8)
    found, _ = SmoothingFilter(8, "mean", 3, blocks=2)(feats, lengths)
    halves = [SmoothingFilter(4, "mean", 3)(part, lengths)[0] for part in feats.chunk(2, dim=2)]
    torch.testing.assert_close(found, torch.cat(halves, dim=2))
    together, _ = SmoothingFilter(8, "mean", 3)(feats, lengths)
    assert not torch.allclose(found[..., 3:5], together[..., 3:5])


def test_straight_through_changes_the_gradient_and_nothing_else():
    feats, lengths = features(10, 6)
    model = torch.nn.Sequential(SmoothingFilter(9, "median", 3))
    smooth = model[0]
    expected, _ = smooth(feats, lengths)
    feats.requires_grad_()
    with straight_through(model):
        found, _ = smooth(feats, lengths)
        (gradient,) = torch.autograd.grad(found.sum(), feats)
    assert torch.equal(found.detach(), expected)
    assert (gradient[0] == 1.0).all() and (gradient[1, :6] == 1.0).all()
    assert (gradient[1, 6:] == 0.0).all()
    assert not smooth.straight_through
    (own,) = torch.autograd.grad(smooth(feats, lengths)[0].sum(), feats)
    assert (own[0] == 0.0).any()


def test_straight_through_ends_when_the_block_fails():
    smooth = SmoothingFilter(9)
    with pytest.raises(ZeroDivisionError), straight_through(smooth):
        assert smooth.straight_through
        raise ZeroDivisionError
    assert not smooth.straight_through


def test_it_has_nothing_to_train_or_save():
    smooth = SmoothingFilter(9, "gaussian", 5, sigma=2.0)
    assert not list(smooth.parameters()) and not smooth.state_dict()
    assert smooth.output_size() == 9 and "gaussian" in repr(smooth)
    assert float(smooth.kernel.sum()) == pytest.approx(1.0)


def test_mirror_pad_reflects_dimensions_too():
    padded = mirror_pad(torch.arange(6.0).view(1, 2, 3), torch.tensor([2]), 2)
    expected = np.pad(np.arange(6.0).reshape(2, 3), 2, mode="reflect")
    np.testing.assert_array_equal(padded[0].numpy(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "max"}, "median, mean, gaussian"),
        ({"size": 4}, "3, 5 or 7"),
        ({"sigma": 0.0}, "positive"),
        ({"blocks": 2}, "9 dimensions cannot be divided into 2"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SmoothingFilter(9, **options)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Smoothing"):
        espnet_ext.defense.Smoothing  # noqa: B018
