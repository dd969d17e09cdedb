import math

import numpy as np
import pytest
import torch
from tiny_countermeasure import DIMS, accuracy, feature_batch, trained, wave_batch
from tiny_victims import features, found, holds, run, values

from espnet_ext.attack import Budget, Noise
from espnet_ext.attack.budget import inside
from espnet_ext.attack.evasion import ball_of
from espnet_ext.attack.methods.apgd import AutoPgd
from espnet_ext.attack.methods.square import Square
from espnet_ext.victims.countermeasure import PyTorchCountermeasure
from espnet_ext.victims.features import FeatureSpace

SCALE = torch.linspace(0.5, 2.0, DIMS)
METHODS = {"apgd": AutoPgd(steps=4), "square": Square(queries=10)}


@pytest.fixture(params=["senet", "lcnn"])
def net(request):
    return trained(request.param)


def equal_pairs(net):
    """A padded batch in which some utterances have one length."""
    batch = feature_batch(net, 6)
    batch.lengths[1] = batch.lengths[0] = min(batch.lengths[:2])
    batch.inputs = batch.inputs * inside(batch.inputs, batch.lengths)
    return batch


@pytest.mark.parametrize("unit", ["raw", "std"])
@pytest.mark.parametrize(
    ("name", "norm", "size"),
    [("apgd", math.inf, 0.7), ("apgd", 2, 6.0), ("square", math.inf, 0.7)],
)
def test_the_budget_is_held_exactly_on_padded_batches(net, name, unit, norm, size):
    batch, victim = equal_pairs(net), PyTorchCountermeasure(net)
    victim.feature_space = FeatureSpace(SCALE, None, DIMS)
    moved = found(victim, batch, METHODS[name], Budget(norm, size, unit))
    assert holds(ball_of(victim, batch, Budget(norm, size, unit)), moved)
    assert (moved != batch.inputs).flatten(1).any(dim=1).sum() >= 4


def test_auto_pgd_takes_all_accuracy(net):
    batch, victim = feature_batch(net, 6), PyTorchCountermeasure(net)
    assert accuracy(victim, batch.inputs, batch) == 1.0
    assert accuracy(victim, found(victim, batch, AutoPgd(steps=15), 1.0), batch) == 0.0


def test_auto_pgd_attacks_waveforms(net):
    batch, victim = wave_batch(4), PyTorchCountermeasure(net, space="waveform")
    moved = found(victim, batch, AutoPgd(steps=10), 0.1)
    assert (moved - batch.inputs).abs().max() <= 0.1
    assert accuracy(victim, moved, batch) < accuracy(victim, batch.inputs, batch)


def test_square_needs_no_gradient_and_is_more_than_noise(net, monkeypatch):
    batch, victim = feature_batch(net, 6), PyTorchCountermeasure(net)

    def no_gradient(*_, **__):
        raise AssertionError("a gradient was asked for")

    monkeypatch.setattr(PyTorchCountermeasure, "loss_gradient", no_gradient)
    moved, noise = (found(victim, batch, m, 1.5) for m in (Square(queries=60), Noise()))
    losses = [values(victim, batch, x, "margin").mean() for x in (moved, noise)]
    assert losses[0] > losses[1]


@pytest.mark.parametrize("make", [AutoPgd, Square])
def test_they_repeat_and_leave_numpy_s_generator_alone(make):
    victim, batch = features()
    options = {"steps": 3} if make is AutoPgd else {"queries": 5}
    np.random.seed(1)
    first = found(victim, batch, make(seed=3, **options), 0.02)
    drawn = np.random.random()
    np.random.seed(1)
    assert np.random.random() == drawn
    assert torch.equal(found(victim, batch, make(seed=3, **options), 0.02), first)
    assert not torch.equal(found(victim, batch, make(seed=4, **options), 0.02), first)


def test_unusable_gradients_of_art_are_counted(monkeypatch):
    victim, batch = features()
    original = PyTorchCountermeasure.loss_gradient

    def nothing(self, x, *arguments, **options):
        return np.nan * original(self, x, *arguments, **options)

    monkeypatch.setattr(PyTorchCountermeasure, "loss_gradient", nothing)
    state = run(victim, batch, AutoPgd(steps=3), 0.02)
    assert (state.stalled > 0).all() and state.snapshots[3].isfinite().all()


def test_auto_pgd_begins_with_steps_of_the_diameter(net):
    """As its authors do; ART's own default is no share of eps."""
    batch, victim = feature_batch(net, 1), PyTorchCountermeasure(net)
    classifier = victim.classifier(batch, [0], batch.inputs.shape[1:], None)
    attack = AutoPgd(steps=3).art(classifier, math.inf, 0.02, batch.inputs.shape[1:])
    assert (attack.eps, attack.eps_step) == (0.02, 0.04)


def test_a_loss_that_is_no_number_is_the_lowest():
    """ART keeps the restart with the highest, and NaN is never below another."""
    net = trained()
    victim, batch = PyTorchCountermeasure(net), feature_batch(net, 2)
    classifier = victim.classifier(batch, [0, 1], batch.inputs.shape[1:], None)
    inputs = batch.inputs.numpy().copy()
    inputs[1] = np.nan
    losses = classifier.compute_loss(inputs, batch.labels.numpy(), reduction="none")
    assert np.isfinite(losses[0]) and losses[1] == -np.inf
