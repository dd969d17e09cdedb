import numpy as np
import pytest
import torch
from espnet_ext.attack.art_attacks import AutoPGD, Square
from espnet_ext.attack.countermeasure import PyTorchCountermeasure
from espnet_ext.attack.linf import RandomSigns
from tiny_countermeasure import DIMS, accuracy, feature_batch, trained, wave_batch

from espnet_ext.errors import InputError

SCALE = torch.linspace(0.5, 2.0, DIMS)


@pytest.fixture(params=["senet", "lcnn"])
def net(request):
    return trained(request.param)


def equal_pairs(net):
    """A padded batch in which some utterances have one length."""
    batch = feature_batch(net, 6)
    batch.lengths[1] = batch.lengths[0] = min(batch.lengths[:2])
    batch.inputs = batch.inputs * batch.mask()
    return batch


@pytest.mark.parametrize("scale", [1.0, SCALE], ids=["one", "each"])
@pytest.mark.parametrize("make", [AutoPGD, Square], ids=lambda c: c.__name__)
def test_the_budget_is_held_exactly_on_padded_batches(net, make, scale):
    batch = equal_pairs(net)
    options = {"steps": 4} if make is AutoPGD else {"queries": 10}
    found = make(PyTorchCountermeasure(net), 0.7, scale, **options).attack_batch(batch)
    excess = (found.double() - batch.inputs.double()).abs() - 0.7 * torch.as_tensor(scale).double()
    assert float(excess.max()) <= 0.0
    assert (found * (1.0 - batch.mask()) == 0.0).all()
    assert (found != batch.inputs).flatten(1).any(dim=1).sum() >= 4


def test_auto_pgd_takes_all_accuracy(net):
    batch, estimator = feature_batch(net, 6), PyTorchCountermeasure(net)
    assert accuracy(estimator, batch.inputs, batch) == 1.0
    found = AutoPGD(estimator, 1.0, steps=15).attack_batch(batch)
    assert accuracy(estimator, found, batch) == 0.0


def test_auto_pgd_attacks_waveforms(net):
    batch = wave_batch(4)
    estimator = PyTorchCountermeasure(net, space="waveform")
    found = AutoPGD(estimator, 0.1, steps=10).attack_batch(batch)
    assert (found - batch.inputs).abs().max() <= 0.1
    assert accuracy(estimator, found, batch) < accuracy(estimator, batch.inputs, batch)


def test_square_needs_no_gradient_and_is_more_than_noise(net):
    batch, estimator = feature_batch(net, 6), PyTorchCountermeasure(net)

    def no_gradient(*_, **__):
        raise AssertionError("a gradient was asked for")

    estimator.loss_gradient = no_gradient
    found = Square(estimator, 1.5, queries=60).attack_batch(batch)
    noise = RandomSigns(estimator, 1.5).attack_batch(batch)
    losses = [
        estimator.losses(x, batch.lengths, batch.labels, "margin").mean() for x in (found, noise)
    ]
    assert losses[0] > losses[1]


def test_they_repeat_and_leave_numpy_s_generator_alone():
    net = trained()
    batch, estimator = feature_batch(net, 4), PyTorchCountermeasure(net)
    for make in (AutoPGD, Square):
        options = {"steps": 3} if make is AutoPGD else {"queries": 5}
        np.random.seed(1)
        first = make(estimator, 0.02, seed=3, **options).attack_batch(batch)
        drawn = np.random.random()
        np.random.seed(1)
        assert np.random.random() == drawn
        assert torch.equal(make(estimator, 0.02, seed=3, **options).attack_batch(batch), first)
        other = make(estimator, 0.02, seed=4, **options).attack_batch(batch)
        assert not torch.equal(other, first)


def test_the_square_attack_refuses_waveforms():
    with pytest.raises(InputError, match="plane"):
        Square(PyTorchCountermeasure(trained(), space="waveform"), 0.1)
