"""What every method promises on every kind of model."""

import collections
import dataclasses
import functools
import math
import random

import numpy as np
import pytest
import torch
from promises.adapters import PLACES, STEPS, marks
from promises.transfers import host_transfers

from espnet_ext.attack.methods import method_named

ART = ("apgd", "square")
OURS = ("fgsm", "pgd", "noise", "upstream", "worst")
ITERATES = ("pgd", "upstream")
REMEMBERING = {"best": True, "restarts": 2, "decay": 0.9, "schedule": "halving"}

# Promises that are not kept, with the reason.
BROKEN = {("alone", name): "ART draws for all utterances of one length together" for name in ART}


def first_of_each_norm(budgets):
    return [next(b for b in budgets if b.norm == norm) for norm in (2, math.inf)]


def table(methods=(*OURS, *ART), budgets=first_of_each_norm, promise=""):
    """Every victim with every method of these that it has, and every budget of these."""
    rows = []
    for name, (kind, _) in PLACES.items():
        if promise == "art" and not kind.of_art:
            continue
        for method in set(kind.methods).intersection(methods):
            if (name, method) == ("features-undefended", "upstream"):
                continue  # it has none
            reason = BROKEN.get((promise, method))
            broken = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            # ART's attacks are slow, and know nothing of units.
            chosen = kind.budgets[:1] if method in ART else budgets(kind.budgets)
            rows += [
                pytest.param(
                    name,
                    method,
                    b,
                    marks=broken + marks(name),
                    id=f"{name}-{method}-{b.norm:g}-{b.tag}",
                )
                for b in chosen
                if b.norm in method_named(method).norms
            ]
    return pytest.mark.parametrize(("name", "method", "budget"), sorted(rows, key=lambda r: r.id))


@pytest.fixture
def victim(name, victim_of):
    return victim_of(name)


@pytest.fixture(scope="session")
def attacked(victim_of):
    """All utterances of a victim attacked together, once a session."""

    def attack(name, *how, **options):
        return victim_of(name).attack(victim_of(name).items, *how, **options)

    return functools.cache(attack)


def largest(victim, budget, found):
    """The largest share of a budget that is used."""
    pairs = zip(victim.items, found, strict=True)
    return max(victim.used(budget, item.clean, x) for item, x in pairs)


@table(budgets=list)
def test_the_budget_is_held_in_double_precision_and_used(victim, method, budget):
    found = victim.attack(victim.items, method, budget, alpha=0.7).last
    for item, x in zip(victim.items, found, strict=True):
        assert x.dtype == np.float32 and x.shape == item.clean.shape
    assert largest(victim, budget, found) <= 1.0
    if method != "square":  # a few squares may all be worse than nothing
        assert largest(victim, budget, found) > (0.99 if method in ("fgsm", "noise") else 0.5)


@table(("pgd",), list)
def test_a_step_is_as_long_as_it_is_said_to_be(victim, method, budget):
    options = {"steps": (1,), "start": "clean", "best": False}
    found = victim.attack(victim.items, method, budget, **options).last
    assert largest(victim, budget, found) == pytest.approx(0.4, rel=1e-3)
    if budget.unit != "snr":
        options["eps_step"] = 0.2 * budget.size
        found = victim.attack(victim.items, method, budget, **options).last
        assert largest(victim, budget, found) == pytest.approx(0.2, rel=1e-3)


@table(promise="alone")
def test_an_utterance_alone_gets_what_it_gets_in_a_batch(victim, attacked, name, method, budget):
    """Up to rounding, which is another in a padded batch and which signs may turn around."""
    together = attacked(name, method, budget).last
    for item, expected in zip(victim.items, together, strict=True):
        alone = victim.attack([item], method, budget).last
        victim.assert_alike([item], alone, [expected], budget.norm, exact=False)


# APGD of ART gives back the random start of what it has not turned.
@table(("fgsm", *ITERATES))
def test_an_attack_is_stronger_than_none_and_than_noise(victim, attacked, name, method, budget):
    small = dataclasses.replace(budget, size=0.01 * budget.size)  # where one step is not too long
    found, noise = (attacked(name, one, small).last for one in (method, "noise"))
    for weaker in ([item.clean for item in victim.items], noise):
        strength = [victim.strength(victim.items, x, method).sum() for x in (found, weaker)]
        assert strength[0] > strength[1]


@table(ITERATES)
def test_more_budget_is_never_weaker_where_the_best_is_kept(victim, method, budget):
    def strength(alpha, **options):
        found = victim.attack(victim.items, method, budget, alpha=alpha, best=True, **options)
        return victim.strength(victim.items, found.last, method)

    # Steps so long that the last iterate is often not the best; starts that make a difference.
    for alpha, more in ((1.5, {"steps": (6,)}), (0.2, {"steps": (1,), "restarts": 4})):
        few, many = strength(alpha, steps=(1,)), strength(alpha, **more)
        slack = 1e-5 * np.abs(few)
        assert (many >= few - slack).all()
        assert (many > few + slack).any() or budget.norm in victim.linear


@pytest.mark.parametrize("options", [{"best": False}, {"best": True, "restarts": 2, "decay": 0.9}])
@table(ITERATES, lambda budgets: budgets[:1])
def test_one_run_gives_what_separate_runs_give(victim, attacked, name, method, budget, options):
    together = attacked(name, method, budget, steps=(1, 2, STEPS), **options)
    assert sorted(together.inputs) == [1, 2, STEPS]
    for steps in (1, STEPS):
        alone = victim.attack(victim.items, method, budget, steps=(steps,), **options).last
        victim.assert_alike(victim.items, together.inputs[steps], alone, budget.norm)


@table(("fgsm", "pgd"), lambda budgets: [b for b in budgets if b.unit == "raw"], "art")
def test_iterates_are_those_of_art_on_equal_lengths(victim, method, budget):
    for steps, alpha in ((1, 0.4), (STEPS, 0.4), (STEPS, 0.7)):
        found = victim.attack(
            victim.equal, method, budget, steps=(steps,), alpha=alpha, start="clean", best=False
        )
        expected = victim.art(method, budget, steps, alpha)
        if victim.exact:
            np.testing.assert_allclose(np.stack(found.last), expected, atol=1e-4 * budget.size)
        victim.assert_alike(victim.equal, found.last, expected, budget.norm, exact=False)


@pytest.mark.parametrize("factor", [0.0, math.nan, math.inf])
@table(("fgsm", *ITERATES, "apgd"))
def test_a_gradient_that_says_nothing_is_counted_and_spoils_no_other(
    victim, attacked, name, method, budget, factor
):
    bad, *good = victim.items
    plain = attacked(name, method, budget, best=False)
    with victim.spoiled([bad], factor):
        found = victim.attack(victim.items, method, budget, best=False)
    steps = 1 if method == "fgsm" else STEPS
    assert plain.stalled == [0] * len(victim.items)
    assert found.stalled[1:] == [0] * len(good)
    assert found.stalled[0] >= steps if method == "apgd" else found.stalled[0] == steps
    victim.assert_alike(good, found.last[1:], plain.last[1:], budget.norm)
    assert np.isfinite(found.last[0]).all()


@table(("pgd",))
def test_one_bad_gradient_does_not_stay(victim, method, budget):
    bad, *_ = victim.items
    options = {"decay": 0.9, "start": "clean", "best": False}
    with victim.spoiled([bad], math.nan, times=1):
        found = victim.attack(victim.items, method, budget, **options)
    assert found.stalled[0] == 1
    assert victim.used(budget, bad.clean, found.last[0]) > 0.5


@pytest.mark.parametrize("options", [{"best": False}, REMEMBERING])
@table(ITERATES)
def test_a_step_transfers_nothing_to_the_host(victim, method, budget, options):
    """Only what comes before and after the steps may; more steps then make no more transfers."""
    counts = []
    victim.attack(victim.items, method, budget)  # measures once what depends on the model alone
    for steps in (2, 5):
        with host_transfers() as places:
            victim.attack(victim.items, method, budget, steps=(steps,), **options)
        counts.append(collections.Counter(places))
    assert counts[0]  # what comes before and after the steps is seen
    assert counts[0] == counts[1]


@table()
def test_nothing_but_the_result_has_changed(victim, method, budget):
    net = victim.net.train()
    next(net.children()).eval()
    held = next(p for p in net.parameters() if p.requires_grad)
    held.requires_grad_(False)
    learned = next(p for p in net.parameters() if p.requires_grad)
    learned.grad = torch.ones_like(learned)
    inputs = [item.clean.copy() for item in victim.items]
    before = everything(net)
    try:
        victim.attack(victim.items, method, budget)
        assert_same(everything(net), before)
        for item, clean in zip(victim.items, inputs, strict=True):
            np.testing.assert_array_equal(item.clean, clean)
    finally:
        held.requires_grad_(True)
        learned.grad = None
        net.eval()


def everything(net):
    """What an attack could leave behind in a model, PyTorch and NumPy."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "parameters": {k: v.clone() for k, v in net.named_parameters()},
        "buffers": {k: v.clone() for k, v in net.named_buffers()},
        "gradients": {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None},
        "requires_grad": {k: p.requires_grad for k, p in net.named_parameters()},
        "modes": {k: m.training for k, m in net.named_modules()},
        "attributes": {k: sorted(vars(m)) for k, m in net.named_modules()},
        "hooks": {
            k: [len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)]
            for k, m in net.named_modules()
        },
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "switches": [
            torch.is_grad_enabled(),
            cudnn.enabled,
            cudnn.benchmark,
            cudnn.deterministic,
            cudnn.allow_tf32,
            matmul.allow_tf32,
        ],
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for what, value in expected.items():
        if isinstance(value, dict) and value and torch.is_tensor(next(iter(value.values()))):
            assert found[what].keys() == value.keys(), what
            assert all(torch.equal(found[what][k], v) for k, v in value.items()), what
        else:
            same = torch.equal(found[what], value) if torch.is_tensor(value) else None
            assert found[what] == value if same is None else same, what
