import dataclasses
import importlib.metadata
import math
from typing import ClassVar

import pytest
import torch
from tiny_victims import features, found, holds, of_kind, recognizer, waveforms

from espnet_ext.attack import Budget, Fgsm, Noise, Pgd, register
from espnet_ext.attack.budget import Ball
from espnet_ext.attack.evasion import ball_of, check_attack
from espnet_ext.attack.methods import BUILT_IN, METHODS, method_named
from espnet_ext.attack.methods.apgd import AutoPgd
from espnet_ext.attack.methods.base import Method
from espnet_ext.attack.methods.square import Square
from espnet_ext.attack.methods.upstream import Upstream
from espnet_ext.errors import InputError


@dataclasses.dataclass(frozen=True)
class Louder(Method):
    """A toy attack of somebody else: everything louder, by far too much."""

    name: ClassVar[str] = "louder"
    title: ClassVar[str] = "louder"
    needs: ClassVar[str] = "nothing"

    factor: float = 2.0

    def perturb(self, victim, batch, ball):
        return self.factor * batch.inputs + 1.0, batch.lengths.new_zeros(len(batch.names))


@pytest.fixture
def forgotten():
    """What a test makes known is known to no other."""
    known = dict(METHODS.known)
    yield
    METHODS.known.clear()
    METHODS.known.update(known)


def test_methods_are_found_by_name():
    for name in BUILT_IN:
        assert method_named(name).name == name and method_named(name).title
        assert method_named(name)().snapshots[-1] <= method_named(name)().passes
    with pytest.raises(InputError, match=r"unknown method 'pdg'; did you mean 'pgd'.*fgsm, pgd"):
        method_named("pdg")


@pytest.mark.parametrize("kind", ["recognizer", "features", "waveforms"])
@pytest.mark.parametrize("norm", [2, math.inf])
def test_a_registered_attack_runs_on_every_kind_of_model_inside_the_ball(forgotten, kind, norm):
    assert register(Louder) is Louder and method_named("louder") is Louder
    victim, batch = of_kind(kind)
    method, budget = method_named("louder").from_mapping({"factor": 3}), Budget(norm, 0.01)
    moved = found(victim, batch, method, budget)
    assert holds(ball_of(victim, batch, budget), moved)
    assert (moved != batch.inputs).flatten(1).any(dim=1).all()


@pytest.mark.parametrize("name", ["pgd", "clean", "a/b", "", "two words"])
def test_a_name_that_is_taken_or_no_directory_is_refused(forgotten, name):
    with pytest.raises(InputError, match="give it another name"):
        register(type("Other", (Louder,), {"name": name}))


def test_a_package_offers_attacks_as_entry_points(forgotten, monkeypatch):
    point = importlib.metadata.EntryPoint("louder", f"{__name__}:Louder", "espnet_ext.attacks")
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: Louder)

    def entry_points(group):
        assert group == "espnet_ext.attacks"
        return importlib.metadata.EntryPoints([point])

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert method_named("louder") is Louder
    with pytest.raises(InputError, match="did you mean 'louder'"):
        method_named("loudr")


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (Pgd, {"steps": ()}, "no number of steps"),
        (Pgd, {"steps": 0}, "steps must be between 1"),
        (Pgd, {"steps": (3, 1.5)}, "steps must be a whole number"),
        (Pgd, {"restarts": 0}, "restarts must be between 1"),
        (Pgd, {"check_every": 0}, "check_every must be between 1"),
        (Pgd, {"alpha": 0.0}, "alpha must be between"),
        (Pgd, {"alpha": math.nan}, "alpha must be a number"),
        (Pgd, {"eps_step": 0.0}, "eps_step must be between"),
        (Pgd, {"decay": -1.0}, "decay must be between"),
        (Pgd, {"best": 1}, "best must be true or false"),
        (Pgd, {"start": "zero"}, "start must be one of clean, random, fgsm"),
        (Pgd, {"schedule": "linear"}, "schedule must be one of constant, cosine, halving"),
        (Pgd, {"start": "clean", "restarts": 2}, "restarts need start: random"),
        (Pgd, {"start": "clean", "loss": "representation"}, "needs start: random"),
        (Pgd, {"start": "fgsm", "loss": "representation"}, "needs start: random"),
        (Fgsm, {"loss": "representation"}, "flat at the input"),
        (Square, {"queries": 0}, "queries must be between 1"),
        (Square, {"first_share": 2.0}, "first_share must be between 0 and 1"),
        (AutoPgd, {"restarts": 0}, "restarts must be between 1"),
        (Noise, {"seed": 0.5}, "seed must be a whole number"),
    ],
)
def test_bad_options_are_refused_however_they_are_given(make, options, message):
    with pytest.raises(InputError, match=message):
        make(**options)
    with pytest.raises(InputError, match=message):
        make.from_mapping(options)


@pytest.mark.parametrize(
    ("victim", "method", "budget", "message"),
    [
        (recognizer, Pgd(), Budget(2, 1.0, "std"), "a budget in std .* raw or snr"),
        (features, Pgd(), Budget(2, 30, "snr"), "a budget in snr .* raw or std or db"),
        (features, Pgd(loss="dlr"), Budget(2, 1.0), "cross_entropy, margin, score, not"),
        (recognizer, Pgd(loss="margin"), Budget(2, 1.0), "loss must be one of hybrid"),
        (recognizer, AutoPgd(), Budget(2, 1.0), "needs a classifier.*use pgd"),
        (recognizer, Square(), Budget(math.inf, 1.0), "needs a classifier.*use pgd"),
        (recognizer, Upstream(), Budget(2, 1.0), "the attack on the upstream needs"),
        (waveforms, Square(), Budget(math.inf, 0.1), "plane"),
        (features, Square(), Budget(2, 0.1), "method square has no norm 2"),
    ],
)
def test_what_does_not_go_together_is_refused(victim, method, budget, message):
    with pytest.raises(InputError, match=message):
        check_attack(victim()[0], method, budget)


# Noise of equal size


@pytest.mark.parametrize("kind", ["recognizer", "features", "waveforms"])
def test_noise_is_of_the_whole_budget_and_the_same_at_every_size(kind):
    victim, batch = of_kind(kind)
    for norm in (2, math.inf):
        shapes = []
        for size in (0.01, 0.02):
            ball = ball_of(victim, batch, Budget(norm, size))
            delta = found(victim, batch, Noise(), Budget(norm, size)) - batch.inputs
            lengths = torch.linalg.vector_norm(delta.double().flatten(1), ord=norm, dim=1)
            torch.testing.assert_close(lengths, ball.radius.flatten(), rtol=1e-4, atol=0)
            shapes.append(delta / size)
        torch.testing.assert_close(*shapes, atol=1e-3, rtol=0)
    other = found(victim, batch, Noise(seed=2), Budget(math.inf, 0.01))
    assert not torch.equal(other, found(victim, batch, Noise(), Budget(math.inf, 0.01)))


def test_fgsm_and_signs_use_the_whole_of_every_dimension():
    victim, batch = features()
    ball = ball_of(victim, batch, Budget(math.inf, 0.5, "std"))
    for method in (Fgsm(), Noise()):
        size = (found(victim, batch, method, Budget(math.inf, 0.5, "std")) - batch.inputs).abs()
        whole = torch.isclose(size, ball.extent, rtol=1e-4, atol=1e-5)
        assert (whole | ((size == 0.0) & (method.name == "fgsm"))).all()


@pytest.mark.parametrize(
    ("options", "doubt"),
    [
        ({"eps_step": 0.05, "steps": 100}, "a step of 0.05 is 25% of the smallest radius"),
        ({"eps_step": 0.01, "steps": [2, 38]}, "all steps together reach 95%"),
        ({"eps_step": 0.01, "steps": 40}, ""),
        ({"alpha": 0.2, "steps": 9}, "all steps together reach 90%"),
        ({"alpha": 0.2, "steps": 10}, ""),
        ({"alpha": 0.1, "steps": 10, "schedule": "constant"}, ""),
        ({"alpha": 0.1, "steps": 2, "schedule": "halving"}, ""),
    ],
)
def test_a_setting_that_finds_little_is_doubted(options, doubt):
    centre = torch.zeros(2, 4)
    ball = Ball.around(centre, torch.tensor([4, 4]), Budget(2, 0.2))
    wide = Ball.around(centre, torch.tensor([4, 4]), Budget(2, 0.4))
    radius = torch.cat([ball.radius[:1], wide.radius[:1]])
    said = method_named("pgd").from_mapping(options).doubt(dataclasses.replace(ball, radius=radius))
    assert said.startswith(doubt) and bool(said) == bool(doubt)
