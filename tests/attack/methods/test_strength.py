"""What attacks reach: decisions of countermeasures, transcripts of recognisers."""

import math

import pytest
import torch
from tiny_countermeasure import DIMS, accuracy, feature_batch, trained, wave_batch
from tiny_victims import copy_of, found, recognizer, values

from espnet_ext.attack import Budget, Fgsm, Noise, Pgd
from espnet_ext.attack.methods.upstream import Upstream
from espnet_ext.defense import SmoothingFilter
from espnet_ext.victims.countermeasure import PyTorchCountermeasure

pytestmark = pytest.mark.one_python

QUARTER = {"alpha": 0.25, "schedule": "constant"}


@pytest.fixture(params=["senet", "lcnn"])
def net(request):
    return trained(request.param)


@pytest.fixture
def batch(net):
    return feature_batch(net, 8)


@pytest.mark.parametrize(
    ("norm", "size", "small"), [(math.inf, 1.0, 0.05), (2, 30.0, 1.0)], ids=["Linf", "L2"]
)
def test_accuracy_falls_to_zero(net, batch, norm, size, small):
    estimator = PyTorchCountermeasure(net)
    assert accuracy(estimator, batch.inputs, batch) == 1.0
    moved = found(estimator, batch, Pgd(steps=20, restarts=2, **QUARTER), Budget(norm, size))
    assert accuracy(estimator, moved, batch) == 0.0
    noise = found(estimator, batch, Noise(), Budget(norm, small))
    assert accuracy(estimator, noise, batch) > 0.5


@pytest.mark.parametrize(("norm", "size"), [(math.inf, 0.05), (2, 2.0)], ids=["Linf", "L2"])
def test_waveforms_are_attacked_in_one_padded_batch(net, norm, size):
    batch = wave_batch(6)
    estimator = PyTorchCountermeasure(net, space="waveform")
    moved = found(estimator, batch, Pgd(steps=10, **QUARTER), Budget(norm, size))
    assert accuracy(estimator, batch.inputs, batch) == 1.0
    assert accuracy(estimator, moved, batch) < 0.5


@pytest.mark.parametrize("eps", [0.01, 0.1, 1.0])
def test_pgd_is_at_least_as_strong_as_fgsm(net, batch, eps):
    estimator = PyTorchCountermeasure(net)
    once = values(estimator, batch, found(estimator, batch, Fgsm(), eps))
    more = found(estimator, batch, Pgd(steps=10, start="clean", **QUARTER), eps)
    assert (values(estimator, batch, more) >= once - 1e-4).all()


def test_schedules_are_stronger_than_long_constant_steps(net, batch):
    estimator, reached = PyTorchCountermeasure(net), {}
    for schedule in ("constant", "cosine", "halving"):
        method = Pgd(steps=20, alpha=0.5, schedule=schedule, best=False)
        moved = found(estimator, batch, method, Budget(2, 3.0))
        reached[schedule] = float(values(estimator, batch, moved).mean())
    assert reached["cosine"] > reached["constant"] and reached["halving"] > reached["constant"]


def test_an_adaptive_attack_goes_through_the_defence():
    net = trained(defense=SmoothingFilter(DIMS, "median", 3))
    batch = feature_batch(net, 8)
    method = Pgd(steps=10, **QUARTER)
    transferred = found(PyTorchCountermeasure(trained()), batch, method, 0.2)
    for through in (False, True):
        estimator = PyTorchCountermeasure(net, through_filters=through)
        loss = values(estimator, batch, found(estimator, batch, method, 0.2)).mean()
        assert loss > values(estimator, batch, batch.inputs).mean()
        if not through:
            assert loss > values(estimator, batch, transferred).mean()


def test_the_attack_on_the_upstream_moves_its_representations():
    net = trained(defense=SmoothingFilter(DIMS, "mean", 3))
    batch, estimator = feature_batch(net, 4), PyTorchCountermeasure(net)

    def distance(inputs):
        with torch.no_grad():
            clean, _ = estimator.representations(batch.inputs, batch.lengths)
            moved, _ = estimator.representations(inputs, batch.lengths)
        return (moved - clean).norm(dim=(1, 2))

    method = Upstream(steps=(2, 10), **QUARTER)
    reached = distance(found(estimator, batch, method, 0.3))
    assert (reached > 1.5 * distance(found(estimator, batch, Noise(), 0.3))).all()
    fewer = distance(found(estimator, batch, Upstream(steps=2, **QUARTER), 0.3))
    assert (reached >= fewer - 1e-5).all()
    by_name = found(estimator, batch, Pgd(steps=10, loss="representation", **QUARTER), 0.3)
    assert torch.equal(by_name, found(estimator, batch, method, 0.3))


@pytest.mark.parametrize(
    "budget", [Budget(2, 20, "snr"), Budget(math.inf, 0.01)], ids=["L2", "Linf"]
)
@pytest.mark.parametrize("goal", ["transcript", "not_reference"])
@pytest.mark.parametrize(
    "method",
    [
        Fgsm(),
        Pgd(steps=10, eps_step=0.05, start="clean", best=False),
        Pgd(steps=5, schedule="halving", start="fgsm"),
    ],
    ids=["fgsm", "the paper's", "halving"],
)
def test_a_recogniser_is_led_to_the_target_or_away_from_the_reference(goal, budget, method):
    victim, batch = recognizer(goal)
    if method.name == "fgsm" and budget.norm == 2:
        budget = Budget(2, 0.1)  # one step of more leaves the region where the loss is straight
    clean = values(victim, batch, batch.inputs)
    moved = values(victim, batch, found(victim, batch, method, budget))
    assert (moved > clean).all()
    noise = values(victim, batch, found(victim, copy_of(batch), Noise(), budget))
    assert moved.sum() > noise.sum()
