"""Countermeasures and their attacks on a GPU, against the same on a CPU."""

import copy

import pytest
import torch
from tiny_countermeasure import FRAMES, feature_batch, trained, wave_batch
from tiny_victims import found as attacked
from tiny_victims import holds, values

from espnet_ext.attack import Budget, Noise, Pgd, PyTorchCountermeasure
from espnet_ext.attack.evasion import ball_of
from espnet_ext.victims.countermeasure import LabelledBatch

pytestmark = pytest.mark.gpu

EPS = 0.1
QUARTER = {"alpha": 0.25, "schedule": "constant"}


def moved(batch, device):
    return LabelledBatch(
        batch.names, *(x.to(device) for x in (batch.inputs, batch.lengths, batch.labels))
    )


@pytest.fixture(scope="module", params=["lcnn", "senet"])
def both(request, device):
    """One model on the CPU and on the device, and features to attack on both."""
    here = trained(request.param)
    batch = feature_batch(here)
    shape = (FRAMES, batch.inputs.size(2))
    there = copy.deepcopy(here).to(device)
    return (
        (PyTorchCountermeasure(here, shape), batch),
        (PyTorchCountermeasure(there, shape), moved(batch, device)),
    )


def test_scores_of_waveforms_are_those_of_the_cpu(both, device, record_property):
    waves, scores = wave_batch(), []
    for estimator, _ in both:
        model, batch = estimator.countermeasure, moved(waves, estimator.device)
        with torch.no_grad(), estimator.attack_mode():
            scores.append(model.scores(model.logits(*model.features(batch.inputs, batch.lengths))))
    record_property("largest", float((scores[1].cpu() - scores[0]).abs().max()))
    assert torch.allclose(scores[1].cpu(), scores[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"steps": 5}, {"steps": 5, "start": "clean", "best": False, "loss": "margin"}]
)
def test_iterates_over_five_steps_are_those_of_the_cpu(both, options, record_property):
    (here, batch), (there, same) = both
    expected = attacked(here, batch, Pgd(**QUARTER, **options), EPS)
    found = attacked(there, same, Pgd(**QUARTER, **options), EPS).cpu()
    # A step goes by signs: where a component is almost zero they may be others.
    differ = float(((found - expected).abs() > 1e-5).float().mean())
    record_property("share that differs", differ)
    assert differ < 0.01
    losses = [values(here, batch, x) for x in (found, expected)]
    assert torch.allclose(*losses, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("budget", [Budget(2, 3.0), Budget(float("inf"), EPS)], ids=["L2", "Linf"])
def test_ball_is_held_in_double_precision(both, budget):
    _, (there, batch) = both
    for method in (Pgd(steps=3), Noise()):
        found = attacked(there, batch, method, budget)
        assert found.device.type == batch.inputs.device.type
        assert holds(ball_of(there, batch, budget), found)


def test_random_numbers_are_those_of_the_cpu(both):
    (here, batch), (there, same) = both
    signs = [attacked(e, b, Noise(), EPS).cpu() for e, b in ((here, batch), (there, same))]
    assert torch.equal(*signs)


@pytest.mark.parametrize("train_mode", [False, True])
def test_model_is_left_as_it_was(both, train_mode):
    _, (there, batch) = both
    model = there.countermeasure
    estimator = PyTorchCountermeasure(model, there.input_shape, train_mode=train_mode)
    before = copy.deepcopy(model.state_dict())
    learned = [p.requires_grad for p in model.parameters()]
    modes = {name: module.training for name, module in model.named_modules()}
    attacked(estimator, batch, Pgd(steps=3), EPS)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert [p.requires_grad for p in model.parameters()] == learned
    assert all(p.grad is None for p in model.parameters())
