"""Countermeasures and their attacks on a GPU, against the same on a CPU."""

import copy

import pytest
import torch
from espnet_ext.attack.linf import InputBatch, RandomSigns
from tiny_countermeasure import FRAMES, feature_batch, trained, wave_batch

from espnet_ext.attack import LinfPGD, PyTorchCountermeasure

pytestmark = pytest.mark.gpu

EPS = 0.1


def moved(batch, device):
    return InputBatch(
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
    expected = LinfPGD(here, EPS, **options).attack_batch(batch)
    found = LinfPGD(there, EPS, **options).attack_batch(same).cpu()
    # A step goes by signs: where a component is almost zero they may be others.
    differ = float(((found - expected).abs() > 1e-5).float().mean())
    record_property("share that differs", differ)
    assert differ < 0.01
    with torch.no_grad(), here.attack_mode():
        losses = [here.losses(x, batch.lengths, batch.labels) for x in (found, expected)]
    assert torch.allclose(*losses, rtol=1e-2, atol=1e-3)


def test_ball_is_held_in_double_precision(both):
    _, (there, batch) = both
    for attack in (LinfPGD(there, EPS, steps=3), RandomSigns(there, EPS)):
        found = attack.attack_batch(batch)
        assert found.device.type == batch.inputs.device.type
        assert float((found.double() - batch.inputs.double()).abs().max()) <= EPS


def test_random_numbers_are_those_of_the_cpu(both):
    (here, batch), (there, same) = both
    signs = [RandomSigns(e, EPS).attack_batch(b).cpu() for e, b in ((here, batch), (there, same))]
    assert torch.equal(*signs)


@pytest.mark.parametrize("train_mode", [False, True])
def test_model_is_left_as_it_was(both, train_mode):
    _, (there, batch) = both
    model = there.countermeasure
    estimator = PyTorchCountermeasure(model, there.input_shape, train_mode=train_mode)
    before = copy.deepcopy(model.state_dict())
    learned = [p.requires_grad for p in model.parameters()]
    modes = {name: module.training for name, module in model.named_modules()}
    LinfPGD(estimator, EPS, steps=3).attack_batch(batch)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert [p.requires_grad for p in model.parameters()] == learned
    assert all(p.grad is None for p in model.parameters())
