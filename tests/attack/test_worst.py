"""The worst case over attacks, and what it says of models that only look robust."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from shams import SHAMS, Detached
from tiny_countermeasure import feature_batch, trained
from tiny_victims import features, found, of_kind, run

from espnet_ext.attack.budget import Budget
from espnet_ext.attack.evasion import ball_of
from espnet_ext.attack.gradient_check import GradientCheck
from espnet_ext.attack.methods import method_named
from espnet_ext.attack.methods.pgd import Pgd
from espnet_ext.attack.methods.spsa import Spsa
from espnet_ext.attack.methods.worst import Worst
from espnet_ext.report.flags import gradient_flags
from espnet_ext.victims.countermeasure import PyTorchCountermeasure

pytestmark = pytest.mark.one_python

BUDGETS = {
    "recognizer": Budget(2, 20.0, "snr"),
    "features": Budget(np.inf, 0.5),
    "waveforms": Budget(2, 20.0, "snr"),
}


@pytest.fixture(params=[*BUDGETS, "features and a surrogate"])
def attacked(request):
    kind, _, surrogate = request.param.partition(" and a ")
    victim, batch = of_kind(kind)
    victim.surrogate = PyTorchCountermeasure(trained("lcnn")) if surrogate else None
    return victim, batch, BUDGETS[kind]


def members(method, victim):
    return method.members(victim.losses, victim.graded, victim.surrogate is not None)


def progress_of(victim, batch, inputs):
    with victim.attack_mode(), torch.no_grad():
        return victim.progress(batch, inputs, slice(None))


def test_no_member_is_stronger_for_any_utterance(attacked):
    victim, batch, budget = attacked
    method = Worst(worst_steps=10, guesses=3)
    worst = progress_of(victim, batch, found(victim, batch, method, budget))
    for name, member in members(method, victim).items():
        source = victim.surrogate if name == "transfer" else victim
        alone = progress_of(victim, batch, found(source, batch, member, budget))
        assert (worst >= alone).all()


def test_what_is_kept_is_in_the_ball_and_says_whose_it_is(attacked):
    victim, batch, budget = attacked
    method = Worst(worst_steps=10, guesses=3)
    state = run(victim, batch, method, budget)
    kept = state.snapshots[10]
    ball = ball_of(victim, batch, budget)
    assert torch.equal(ball.exact(kept), kept)
    names = [row["strongest"] for row in method.details(victim, state)]
    assert set(names) <= {*members(method, victim), None}
    for row, name in enumerate(names):
        assert (name is None) == torch.equal(kept[row], batch.inputs[row])
    assert (state.spent > 0).any(dim=0).all()


@pytest.mark.parametrize("stop", [1, 15, 42])
def test_a_killed_worst_case_ends_as_an_unbroken_one(attacked, stop):
    victim, batch, budget = attacked
    method = Worst(worst_steps=10, guesses=3)
    expected = run(victim, batch, method, budget)

    saved = []

    def kill(state):
        if state.step >= stop:
            saved.append(copy_of(state))
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        run(victim, batch, method, budget, on_step=kill)
    resumed = run(victim, batch, method, budget, state=saved[0] if saved else None)
    assert torch.equal(resumed.snapshots[10], expected.snapshots[10])
    assert torch.equal(resumed.spent, expected.spent)
    assert torch.equal(resumed.kept["strongest"], expected.kept["strongest"])


def copy_of(state):
    def clone(value):
        if isinstance(value, dict):
            return {key: clone(item) for key, item in value.items()}
        return value.clone() if isinstance(value, torch.Tensor) else value

    return dataclasses.replace(state, **{k: clone(v) for k, v in vars(state).items()})


@pytest.mark.parametrize("shift", [-3.0, 5.0])
@pytest.mark.parametrize("name", ["worst", "apgd", "square"])
def test_a_constant_added_to_the_output_changes_nothing(name, shift):
    """Attacks decide by the threshold that answers are scored with, not by the larger logit."""
    options = {
        "worst": {"worst_steps": 5, "guesses": 2},
        "apgd": {"steps": 5},
        "square": {"queries": 20},
    }
    method = method_named(name)(**options[name])
    found_of = []
    for added in (0.0, shift):
        net = trained()
        with torch.no_grad():
            net.loss.linear.bias[1] += added
        batch = feature_batch(net, 6)
        victim = PyTorchCountermeasure(net, threshold=0.5 + added)  # log odds
        inputs = found(victim, batch, method, Budget(np.inf, 0.3))
        found_of.append((inputs, victim.reached(batch, inputs, slice(None))))
    (inputs, reached), (others, as_well) = found_of
    assert torch.equal(reached, as_well)
    assert (inputs != others).float().mean() < 0.01  # rounding of the threshold


def test_spsa_climbs_without_a_gradient():
    victim, batch = features()
    before = progress_of(victim, batch, batch.inputs)
    state = run(victim, batch, Spsa(steps=(20,), pairs=4), 0.5)
    assert (progress_of(victim, batch, state.snapshots[20]) > before).all()
    assert state.spent.tolist() == [[0, 20 * 9 + 1]] * 4


EPS = Budget(np.inf, 0.6)


def left(victim, batch, method):
    """Share of utterances that are still decided rightly."""
    inputs = found(victim, batch, method, EPS)
    return 1.0 - victim.reached(batch, inputs, slice(None)).float().mean().item()


def flags_of(victim, batch):
    """What is seen of the gradient."""
    check = GradientCheck.of(victim, batch, ball_of(victim, batch, EPS))
    return list(gradient_flags({"sham": dataclasses.asdict(check)}))


@pytest.mark.parametrize("name", SHAMS)
def test_a_sham_is_broken_and_flagged(name):
    torch.manual_seed(0)
    victim = PyTorchCountermeasure(SHAMS[name]())
    batch = feature_batch(trained(), 8)
    plain = left(victim, batch, Pgd(steps=(20,)))
    worst = left(victim, batch, Worst(worst_steps=20, guesses=80))
    assert plain >= 0.5 or name == "random gain"
    assert worst <= 0.05
    assert flags_of(victim, batch)


def test_what_gradients_do_not_find_transfers():
    victim, batch = PyTorchCountermeasure(trained(defense=Detached())), feature_batch(trained(), 8)
    method = Worst(worst_steps=20, guesses=1)
    assert left(victim, batch, method) >= 0.5
    victim.surrogate = PyTorchCountermeasure(trained())
    state = run(victim, batch, method, EPS)
    assert victim.reached(batch, state.snapshots[20], slice(None)).float().mean() >= 0.95
    assert "transfer" in [row["strongest"] for row in method.details(victim, state)]
    others = len(members(method, victim)) - 2  # gradients of the surrogate are not counted
    assert int(state.spent[:, 0].max()) == 20 * others


def test_an_honest_model_has_no_flag():
    for kind in ("senet", "lcnn"):
        victim = PyTorchCountermeasure(trained(kind))
        batch = feature_batch(trained(kind), 8)
        assert flags_of(victim, batch) == []
