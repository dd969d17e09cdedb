"""Every kind of model under attack, small enough for tests, with a batch of unlike lengths."""

import copy

import numpy as np
import torch
from tiny import noise, tiny_recognizer
from tiny_countermeasure import feature_batch, trained, wave_batch

from espnet_ext.attack.budget import Ball, Budget, inside
from espnet_ext.attack.evasion import ball_of, check_attack
from espnet_ext.victims.countermeasure import LabelledBatch, PyTorchCountermeasure
from espnet_ext.victims.features import FeatureSpace
from espnet_ext.victims.recognizer import PyTorchESPnet

NAMES = ["u1", "u2", "u3", "u4"]
TEXTS = ["one two", "three", "four five six", "seven"]
KINDS = ("recognizer", "features", "waveforms")


def recognizer(goal="transcript", **options):
    """A recogniser, and a batch for it."""
    victim = PyTorchESPnet(tiny_recognizer(**options), 0.5, goal=goal)
    return victim, victim.batch(NAMES, noise(4000, 3000, 2001, 4000), TEXTS)


def features(net=None):
    """A countermeasure whose features are attacked, measured in deviations, and a batch for it."""
    net = net or trained()
    victim, batch = PyTorchCountermeasure(net), feature_batch(net, 4)
    scale = torch.linspace(0.5, 2.0, batch.inputs.size(2))
    victim.feature_space = FeatureSpace(scale, 1.0 / scale, len(scale))
    return victim, batch


def waveforms(net=None):
    """A countermeasure whose waveforms are attacked, and a batch for it."""
    return PyTorchCountermeasure(net or trained(), space="waveform"), wave_batch(4)


def of_kind(kind):
    """The model under attack and the batch of one of `KINDS`."""
    return {"recognizer": recognizer, "features": features, "waveforms": waveforms}[kind]()


def model_of(victim):
    """The network of either kind of model."""
    return victim.countermeasure if victim.kind == "cm" else victim.recognizer.model


def run(victim, batch, method, budget, **options):
    """The final state of an attack; `budget` may be a radius for norm infinity."""
    budget = budget if isinstance(budget, Budget) else Budget(np.inf, budget)
    check_attack(victim, method, budget)
    return method.run(victim, batch, ball_of(victim, batch, budget), **options)


def found(victim, batch, method, budget, **options):
    """What an attack makes of a batch."""
    return run(victim, batch, method, budget, **options).snapshots[method.snapshots[-1]]


def values(victim, batch, inputs, loss=""):
    """What the attacker increases, for each utterance."""
    with torch.no_grad(), victim.attack_mode():
        return victim.objective(batch, loss)(inputs, slice(None))


def sizes(ball: Ball, inputs):
    """Norms of perturbations in units of the budget, in double precision."""
    delta = inputs.double() - ball.centre.double()
    delta = delta if ball.scale is None else delta / ball.scale.double()
    return torch.linalg.vector_norm(delta.flatten(1), ord=ball.norm, dim=1)


def holds(ball: Ball, inputs):
    """Whether every utterance is in the ball exactly, and the padding is what it was."""
    outside = ~inside(ball.centre, ball.lengths).expand_as(inputs)
    if ball.norm == np.inf:
        scale = 1.0 if ball.scale is None else ball.scale.double()
        excess = (inputs.double() - ball.centre.double()).abs() - ball.radius * scale
        fits = bool((excess <= 0.0).all())
    else:
        fits = bool((sizes(ball, inputs) <= ball.radius.flatten()).all())
    return fits and bool((inputs[outside] == ball.centre[outside]).all())


def copy_of(batch):
    """The same utterances, of which nothing is known yet."""
    again = copy.copy(batch)
    again.clean_gradients = {}
    return again


def alone(batch, row):
    """One utterance of a batch, without padding."""
    length, one = int(batch.lengths[row]), slice(row, row + 1)
    again = copy_of(batch)
    again.names, again.inputs = batch.names[one], batch.inputs[one, :length]
    again.lengths = batch.lengths[one]
    if isinstance(batch, LabelledBatch):
        again.labels = batch.labels[one]
    else:
        again.transcripts = batch.transcripts[one]
        again.targets = batch.targets.rows(torch.tensor([row]))
    return again
