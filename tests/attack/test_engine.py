import io
import itertools
import math

import pytest
import torch
from tiny_countermeasure import feature_batch, trained
from tiny_victims import (
    KINDS,
    alone,
    copy_of,
    features,
    found,
    holds,
    model_of,
    of_kind,
    run,
    sizes,
    values,
)
from torch.utils._python_dispatch import TorchDispatchMode

from espnet_ext.attack import Budget, Fgsm, Noise, Pgd
from espnet_ext.attack.budget import inside
from espnet_ext.attack.engine import Engine, State, stronger
from espnet_ext.attack.evasion import ball_of
from espnet_ext.victims.base import finite, gradient_of, unusable
from espnet_ext.victims.countermeasure import PyTorchCountermeasure

BUDGETS = {
    "recognizer": (Budget(2, 20, "snr"), Budget(math.inf, 25, "snr")),
    "features": (Budget(2, 3.0, "std"), Budget(math.inf, 0.3, "std")),
    "waveforms": (Budget(2, 0.5), Budget(math.inf, 0.01)),
}
NORMS = pytest.mark.parametrize("norm", [0, 1], ids=["L2", "Linf"])
CONSTANT = {"schedule": "constant", "best": False}


@pytest.fixture(scope="module", params=KINDS)
def attacked(request):
    return of_kind(request.param)


@pytest.fixture
def victim(attacked):
    return attacked[0]


@pytest.fixture
def batch(attacked):
    return copy_of(attacked[1])


@pytest.fixture
def budgets(victim):
    if victim.kind == "asr":
        return BUDGETS["recognizer"]
    return BUDGETS["features" if victim.space == "features" else "waveforms"]


METHODS = {
    "fgsm": Fgsm(),
    "noise": Noise(),
    "pgd": Pgd(steps=4),
    "restarts": Pgd(steps=2, restarts=2),
    "from fgsm": Pgd(steps=3, start="fgsm"),
    "halving": Pgd(steps=6, schedule="halving", alpha=0.5),
    "the paper's": Pgd(steps=3, eps_step=0.05, start="clean", best=False),
    "momentum": Pgd(steps=3, decay=0.9, start="clean", best=False),
    "until success": Pgd(steps=4, stop_on_success=True, check_every=2),
}


@NORMS
@pytest.mark.parametrize("name", METHODS)
def test_the_budget_holds_exactly_and_padding_stays(victim, batch, budgets, norm, name):
    moved = found(victim, batch, METHODS[name], budgets[norm])
    assert holds(ball_of(victim, batch, budgets[norm]), moved)
    assert (moved != batch.inputs).flatten(1).any(dim=1).all()
    assert not moved.requires_grad


def test_a_budget_in_deviations_is_a_share_of_each_dimension():
    victim, batch = features()
    for unit, scale in (
        ("std", victim.feature_space.std),
        ("raw", torch.ones(batch.inputs.size(2))),
    ):
        for norm in (2, math.inf):
            extent = ball_of(victim, batch, Budget(norm, 0.3, unit)).extent
            torch.testing.assert_close(extent[0, 0].expand_as(scale), 0.3 * scale)


@NORMS
def test_waveforms_stay_in_their_range(victim, batch, norm):
    if victim.clip_values[1] > 1.0:
        pytest.skip("features have no range")
    batch.inputs = batch.inputs.clone()
    batch.inputs[:, :900], batch.inputs[1, :5] = 0.9999, 1.5
    for method in METHODS.values():
        moved = found(victim, batch, method, Budget((2, math.inf)[norm], (9.0, 0.3)[norm]))
        assert holds(ball_of(victim, batch, Budget((2, math.inf)[norm], (9.0, 0.3)[norm])), moved)
        assert float(moved[0].abs().max()) <= 1.0 and float(moved[1, :5].max()) <= 1.5


@NORMS
@pytest.mark.parametrize("name", ["fgsm", "noise", "restarts", "the paper's"])
def test_an_utterance_gets_in_a_batch_what_it_gets_alone(victim, batch, budgets, norm, name):
    method, budget = METHODS[name], budgets[norm]
    together = found(victim, batch, method, budget)
    one = found(victim, alone(batch, 2), method, budget)[0]
    same = torch.isclose(together[2, : len(one)], one, atol=1e-4)
    # A gradient that is zero but for rounding may have either sign.
    assert same.float().mean() > 0.98


def test_nothing_of_the_model_and_the_batch_changes(victim, batch, budgets):
    model = model_of(victim).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    inputs = batch.inputs.clone()
    for method in METHODS.values():
        found(victim, batch, method, budgets[0])
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(m.training for m in model.modules() if m is not model and list(m.parameters()))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(batch.inputs, inputs)
    model.eval()


# Several numbers of steps in one run, interruption


@pytest.mark.parametrize(
    "options",
    [
        {"eps_step": 0.05, "start": "clean", "best": False},
        {"schedule": "constant"},
        {"schedule": "constant", "decay": 0.9, "restarts": 2},
    ],
)
def test_one_run_gives_what_separate_runs_give_and_cost(victim, batch, budgets, options):
    together = run(victim, batch, Pgd(steps=(5, 2), **options), budgets[0])
    assert list(together.snapshots) == [2, 5]
    for count, inputs in together.snapshots.items():
        one = run(victim, copy_of(batch), Pgd(steps=(count,), **options), budgets[0])
        assert torch.equal(inputs, one.snapshots[count])
        restarts = options.get("restarts", 1)
        assert together.costs[count][:, 0].tolist() == [count * restarts] * len(batch.names)
        assert torch.equal(one.costs[count], one.spent)
    assert torch.equal(together.costs[5], together.spent)


def saved(state):
    """The state as a file gives it back; such a file holds numbers and tensors alone."""
    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    buffer.seek(0)
    return State(**torch.load(buffer, weights_only=True))


RESUMED = {
    "plain": {"eps_step": 0.05, "start": "clean", "best": False},
    "cosine, best": {},
    "momentum": {"decay": 0.9, "best": False},
    "from fgsm": {"start": "fgsm"},
    "restarts": {"restarts": 2},
    "restarts, the last": {"restarts": 2, "best": False, "decay": 0.9},
    "halving": {"schedule": "halving", "alpha": 0.7},
    "halving, restarts": {"schedule": "halving", "restarts": 2, "decay": 0.5, "best": False},
    "until success": {"stop_on_success": True, "check_every": 2, "restarts": 2},
}


@pytest.mark.parametrize("name", RESUMED)
def test_an_interrupted_attack_ends_as_an_uninterrupted_one(victim, batch, budgets, name):
    method, states = Pgd(steps=(2, 5), **RESUMED[name]), {}
    whole = run(
        victim,
        batch,
        method,
        budgets[1],
        on_step=lambda state: states.update({state.step: saved(state)}),
    )
    assert len(states) == method.passes == whole.step
    for step in {3, method.passes - 1}:
        resumed = run(victim, copy_of(batch), method, budgets[1], state=states[step])
        assert torch.equal(resumed.stalled, whole.stalled)
        assert all(torch.equal(resumed.costs[n], whole.costs[n]) for n in (2, 5))
        for count in (2, 5):
            assert torch.equal(resumed.snapshots[count], whole.snapshots[count])


# Steps


def linear(monkeypatch, victim, batch, still=()):
    """Objectives that grow by the same everywhere, but for some utterances that stand still."""
    slope = torch.ones(len(batch.names))
    slope[list(still)] = 0.0

    def objective(batch, loss=""):
        return lambda inputs, rows: inputs.flatten(1).sum(dim=1) * slope[rows]

    monkeypatch.setattr(victim, "objective", objective)


def step_sizes(victim, batch, method, budget):
    """Lengths of the steps of each utterance as shares of its radius, (steps, B)."""
    iterates = [batch.inputs]
    run(victim, batch, method, budget, on_step=lambda state: iterates.append(state.inputs))
    ball = ball_of(victim, batch, budget)
    gone = torch.stack([sizes(ball, x) for x in iterates])
    return (gone[1:] - gone[:-1]) / ball.radius.flatten()


@NORMS
def test_steps_are_shares_of_each_radius_on_a_schedule(monkeypatch, victim, batch, budgets, norm):
    linear(monkeypatch, victim, batch)
    for schedule in ("constant", "cosine"):
        method = Pgd(steps=8, alpha=0.1, start="clean", best=False, schedule=schedule)
        shares = [0.5 * (1.0 + math.cos(math.pi * i / 8)) for i in range(8)]
        expected = torch.tensor([0.1 * (s if schedule == "cosine" else 1.0) for s in shares])
        got = step_sizes(victim, batch, method, budgets[norm])
        torch.testing.assert_close(
            got, expected.double().unsqueeze(1).expand_as(got), atol=1e-3, rtol=0
        )


def test_a_constant_step_is_in_the_unit_of_the_budget(monkeypatch, victim, batch, budgets):
    linear(monkeypatch, victim, batch)
    for budget in budgets:
        ball = ball_of(victim, batch, budget)
        step = 0.1 * float(ball.radius.min())
        method = Pgd(steps=5, eps_step=step, start="clean")
        got = step_sizes(victim, batch, method, budget) * ball.radius.flatten()
        torch.testing.assert_close(got, torch.full_like(got, step), rtol=1e-2, atol=0)


def test_steps_are_halved_where_no_progress_is_made(monkeypatch, victim, batch, budgets):
    linear(monkeypatch, victim, batch, still=[1, 3])
    # Auto-PGD looks back after 22, 41, 57, 70, 80, 87, 93 and 99 % of the steps.
    method = Pgd(steps=50, schedule="halving", alpha=0.01, start="clean")
    halved = []
    state = run(
        victim,
        batch,
        method,
        budgets[1],
        on_step=lambda state: halved.append(state.kept["share"].flatten().clone() / 0.01),
    )
    last = halved[-1].tolist()
    assert last[0] == last[2] == 1.0 and last[1] == last[3] == pytest.approx(0.5**7)
    changes = [n for n, (a, b) in enumerate(itertools.pairwise(halved), 1) if b[1] < a[1]]
    assert changes == [11, 21, 29, 35, 40, 44, 47]
    assert state.stalled.tolist() == [0, 50, 0, 50]


def test_halving_goes_on_from_the_best_and_comes_nearer(monkeypatch, victim, batch, budgets):
    ball = ball_of(victim, batch, budgets[1])
    aim = batch.inputs + 0.3 * ball.extent

    def objective(batch, loss=""):
        return lambda inputs, rows: -(inputs - aim[rows]).flatten(1).square().sum(dim=1)

    monkeypatch.setattr(victim, "objective", objective)
    ends = {
        schedule: found(
            victim,
            copy_of(batch),
            Pgd(steps=40, schedule=schedule, alpha=1.0, start="clean"),
            budgets[1],
        )
        for schedule in ("constant", "halving")
    }
    left = {k: (x - aim).flatten(1).norm(dim=1) for k, x in ends.items()}
    assert (left["halving"] < 0.1 * left["constant"]).all()


def test_momentum_keeps_the_direction_of_earlier_steps(victim, batch):
    budget = Budget(2, 9.0)
    plain, heavy = (
        found(
            victim,
            copy_of(batch),
            Pgd(steps=6, eps_step=0.05, start="clean", best=False, decay=decay),
            budget,
        )
        for decay in (0.0, 1.0)
    )
    # With momentum successive steps agree more, so the path is straighter and longer.
    assert (heavy - batch.inputs).norm() > (plain - batch.inputs).norm()


def test_a_random_start_is_uniform_in_the_ball(victim, batch, budgets):
    tiny = Pgd(steps=1, alpha=1e-6, **CONSTANT)
    ball = ball_of(victim, batch, budgets[1])
    within = inside(batch.inputs, batch.lengths).expand_as(batch.inputs)
    share = ((found(victim, batch, tiny, budgets[1]) - batch.inputs) / ball.extent)[within]
    assert abs(float(share.mean())) < 0.05 and abs(float(share.abs().mean()) - 0.5) < 0.02
    other = found(victim, batch, Pgd(steps=1, alpha=1e-6, seed=1, **CONSTANT), budgets[1])
    assert not torch.equal(other, found(victim, batch, tiny, budgets[1]))
    renamed = copy_of(batch)
    renamed.names = [batch.names[0], "x", "y", "z"]
    again = found(victim, renamed, tiny, budgets[1])
    same = (again == found(victim, batch, tiny, budgets[1])).flatten(1).all(dim=1)
    assert same.tolist() == [True, False, False, False]


# The strongest


@pytest.mark.parametrize("start", ["clean", "random", "fgsm"])
def test_more_steps_are_never_weaker_with_best(victim, batch, budgets, start):
    method = Pgd(steps=(1, 2, 5, 10), schedule="constant", alpha=0.25, start=start)
    states = run(victim, batch, method, budgets[1])
    reached = [values(victim, batch, x) for x in states.snapshots.values()]
    for fewer, more in itertools.pairwise(reached):
        assert (more >= fewer - 1e-4).all()
    assert reached[-1].sum() > reached[0].sum()


def test_more_restarts_are_never_weaker(victim, batch, budgets):
    for best in (True, False):
        one, three = (
            values(
                victim,
                batch,
                found(victim, batch, Pgd(steps=2, restarts=n, best=best), budgets[1]),
            )
            for n in (1, 3)
        )
        assert (three >= one - 1e-4).all() and (three > one + 1e-6).any()


def test_pgd_from_fgsm_is_never_weaker_than_fgsm(victim, batch, budgets):
    for budget in budgets:
        once = values(victim, batch, found(victim, batch, Fgsm(), budget))
        more = found(victim, batch, Pgd(steps=2, start="fgsm"), budget)
        assert (values(victim, batch, more) >= once - 1e-4).all()


def test_the_best_step_is_kept_where_steps_overshoot(victim, batch, budgets):
    best, last = (
        values(
            victim,
            batch,
            found(
                victim,
                batch,
                Pgd(steps=6, alpha=2.0, schedule="constant", start="clean", best=best),
                budgets[1],
            ),
        )
        for best in (True, False)
    )
    assert (best >= last - 1e-4).all()


def test_what_is_no_number_is_never_the_strongest_and_of_equals_the_first_is_kept():
    nan = float("nan")
    new, old = torch.tensor([1.0, 2.0, -5.0, nan, nan]), torch.tensor([1.0, 1.0, nan, 1.0, nan])
    assert stronger(new, old).tolist() == [False, True, True, False, False]


# Success


def test_an_utterance_that_has_reached_its_goal_is_left_alone(monkeypatch, victim, batch, budgets):
    monkeypatch.setattr(
        victim, "reached", lambda b, inputs, rows: torch.tensor([r == 0 for r in rows.tolist()])
    )
    method = Pgd(
        steps=(3, 4, 5, 12),
        start="clean",
        stop_on_success=True,
        check_every=4,
        **CONSTANT,
    )
    state = run(victim, batch, method, budgets[0])
    assert state.running.tolist() == [False, True, True, True]
    assert (state.snapshots[4] != state.snapshots[3]).flatten(1).any(dim=1).all()
    for step in (5, 12):
        moved = (state.snapshots[step] != state.snapshots[4]).flatten(1).any(dim=1)
        assert moved.tolist() == [False, True, True, True]


@pytest.mark.parametrize("best", [True, False])
def test_success_is_kept_though_other_iterates_and_restarts_have_more_of_the_objective(
    monkeypatch, victim, batch, budgets, best
):
    """Nothing that the objective says is worth a decision that is the attacker's already."""
    reached, checks = [], []

    def first_time(b, inputs, rows):
        checks.append(rows)
        hit = torch.tensor([row == 2 and len(checks) == 1 for row in rows.tolist()])
        if hit.any():
            reached.append(inputs[hit][0].clone())
        return hit

    monkeypatch.setattr(victim, "reached", first_time)
    # Steps as long as the radius overshoot: later restarts are often better.
    method = Pgd(steps=4, restarts=3, alpha=2.0, best=best, stop_on_success=True, check_every=2)
    end = found(victim, batch, method, budgets[1])[2]
    assert torch.equal(end, reached[0])


def test_the_decision_is_asked_of_the_model(victim, batch):
    """A strong attack reaches its goal, and the engine sees it."""
    if victim.kind == "asr":
        victim, batch = of_kind("recognizer")
        victim.goal = "not_reference"
        batch = victim.batch(batch.names, batch.arrays(batch.inputs))
    with torch.no_grad(), victim.attack_mode():
        assert not victim.reached(batch, batch.inputs, slice(None)).any()
    method = Pgd(steps=40, stop_on_success=True, check_every=5, alpha=0.1)
    state = run(victim, batch, method, Budget(math.inf, 1.0 if victim.kind == "cm" else 0.3))
    assert not state.running.any()
    with torch.no_grad(), victim.attack_mode():
        assert victim.reached(batch, state.snapshots[40], slice(None)).all()


# Gradients that are of no use


def spoiled(monkeypatch, victim, value, rows, until=10**9):
    """The victim with objectives multiplied by `value` for some utterances of a batch."""
    original, calls = victim.objective, []

    def objective(batch, loss=""):
        right = original(batch, loss)

        def wrong(inputs, which):
            calls.append(1)
            factor = torch.ones(len(batch.names))
            factor[rows] = value if len(calls) <= until else 1.0
            return right(inputs, which) * factor[which]

        return wrong

    monkeypatch.setattr(victim, "objective", objective)
    return victim


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
@pytest.mark.parametrize("start", ["clean", "random", "fgsm"])
def test_steps_without_a_usable_gradient_are_counted(
    monkeypatch, victim, batch, budgets, value, start, caplog
):
    method = Pgd(steps=3, start=start)
    assert run(victim, copy_of(batch), method, budgets[0]).stalled.sum() == 0
    assert not caplog.text
    spoiled(monkeypatch, victim, value, [1, 3])
    for budget in budgets:
        state = run(victim, copy_of(batch), method, budget)
        assert state.stalled.tolist() == [0, 3, 0, 3]
        assert state.snapshots[3].isfinite().all()
        moved = (state.snapshots[3] != batch.inputs).flatten(1).any(dim=1)
        if start == "clean" and value != math.inf:
            assert moved.tolist() == [True, False, True, False]
    assert "2 of 4 utterances had steps without" in caplog.text
    once = run(victim, copy_of(batch), Fgsm(), budgets[0])
    assert once.stalled.tolist() == [0, 1, 0, 1]
    assert run(victim, batch, Noise(), budgets[0]).stalled.sum() == 0


def test_one_bad_gradient_does_not_stay_in_the_momentum(monkeypatch, victim, batch, budgets):
    spoiled(monkeypatch, victim, math.nan, [1], until=1)
    method = Pgd(steps=4, start="clean", decay=0.9, best=False)
    state = run(victim, batch, method, budgets[0])
    assert state.stalled.tolist() == [0, 1, 0, 0]
    assert (state.snapshots[4] != batch.inputs).flatten(1).any(dim=1).all()


@NORMS
def test_one_bad_sample_stops_neither_its_utterance_nor_another(
    monkeypatch, victim, batch, budgets, norm
):
    original = victim.objective

    def objective(batch, loss=""):
        right = original(batch, loss)
        first = (slice(None),) + (0,) * (batch.inputs.ndim - 1)
        return lambda x, rows: right(x, rows) + torch.sqrt(x[first] * 0.0 - 1.0)

    monkeypatch.setattr(victim, "objective", objective)
    method = Pgd(steps=2, start="clean", best=False)
    state = run(victim, batch, method, budgets[norm])
    moved = (state.snapshots[2] - batch.inputs).flatten(1)
    assert moved.isfinite().all() and (moved[:, 0] == 0.0).all()
    assert moved.abs().sum(dim=1).min() > 0.0 and state.stalled.tolist() == [2, 2, 2, 2]


@NORMS
def test_what_a_model_hears_in_the_padding_changes_no_step(
    monkeypatch, victim, batch, budgets, norm
):
    """It would take up the length of an L2 step, and pass for a gradient where there is none."""
    method = Pgd(steps=3, start="clean", decay=0.9)
    spoiled(monkeypatch, victim, 0.0, [1])
    alone, original = run(victim, copy_of(batch), method, budgets[norm]), victim.objective
    padding = ~inside(batch.inputs, batch.lengths).expand_as(batch.inputs)

    def objective(batch, loss=""):
        right = original(batch, loss)
        return lambda x, rows: right(x, rows) + (9.0 * x * padding[rows]).flatten(1).sum(dim=1)

    monkeypatch.setattr(victim, "objective", objective)
    state = run(victim, batch, method, budgets[norm])
    assert torch.equal(state.snapshots[3], alone.snapshots[3])
    assert state.stalled.tolist() == [0, 3, 0, 0]


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf, -math.inf])
def test_what_is_usable_of_a_gradient(bad):
    gradient = torch.tensor([[bad, 0.0], [bad, 1.0], [2.0, 1.0]])
    assert unusable(gradient).tolist() == [True, bad != 0.0, False]
    assert finite(gradient).isfinite().all()
    assert torch.equal(finite(gradient).sign(), gradient.nan_to_num(nan=0.0).sign())


# Cost


def counted(monkeypatch, victim):
    calls, original = [], victim.objective

    def objective(batch, loss=""):
        right = original(batch, loss)
        return lambda inputs, rows: calls.append(loss) or right(inputs, rows)

    monkeypatch.setattr(victim, "objective", objective)
    return calls


def test_attacks_of_every_size_share_the_first_gradient(monkeypatch, victim, batch, budgets):
    calls = counted(monkeypatch, victim)
    ends = [found(victim, batch, Fgsm(), budget) for budget in budgets]
    found(victim, batch, Pgd(steps=1, start="clean", best=False), budgets[0])
    assert len(calls) == 1
    assert torch.equal(found(victim, copy_of(batch), Fgsm(), budgets[1]), ends[1])


def test_the_first_gradient_is_of_one_loss_and_one_model_and_no_training_mode(monkeypatch):
    victim, batch = features()
    calls = counted(monkeypatch, victim)
    for loss in ("", "margin", "margin"):
        found(victim, batch, Fgsm(loss=loss), 0.1)
    assert calls == ["", "margin"]
    other = PyTorchCountermeasure(trained("lcnn"))
    expected = found(other, feature_batch(trained("lcnn"), 4), Fgsm(), 0.1)
    assert torch.equal(found(other, batch, Fgsm(), 0.1), expected)
    training = PyTorchCountermeasure(trained("lcnn"), train_mode=True)
    calls = counted(monkeypatch, training)
    for _ in range(2):
        found(training, batch, Fgsm(), 0.1)
    assert len(calls) == 2


class Transfers(TorchDispatchMode):
    """Counts reads of device values by the host: on a GPU each waits for the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@NORMS
@pytest.mark.parametrize(
    "options", [{"decay": 0.9, "best": False, "eps_step": 0.01}, {"schedule": "halving"}]
)
def test_a_step_adds_no_host_transfer_to_the_model(victim, batch, budgets, norm, options):
    method = Pgd(steps=4, **options)  # halved after 1, 2 and 3
    with victim.attack_mode():
        engine = Engine(victim, batch, ball_of(victim, batch, budgets[norm]), method)
        state = State.of(batch.inputs)
        engine._step(state)  # the first one also looks whether the targets are possible
        with Transfers() as model_alone:
            gradient_of(engine.objective, state.inputs)
        with Transfers() as step:
            engine._step(state)
    assert step.count == model_alone.count
