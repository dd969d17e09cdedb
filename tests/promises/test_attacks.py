"""What every method promises on every kind of model."""

import functools
import math
import random

import numpy as np
import pytest
import torch
from promises.adapters import STEPS, VICTIMS

ASKS_FOR_GRADIENTS = ("fgsm", "pgd", "upstream", "apgd")
ITERATES = ("pgd", "upstream")

# Promises that are not kept yet, with the reason.
BROKEN = {
    ("alone", "apgd"): "ART draws for all utterances of one length together",
    ("alone", "square"): "ART draws for all utterances of one length together",
    ("nothing changed", "apgd"): "the loaders of ART draw from PyTorch's generator",
    ("nothing changed", "square"): "the loaders of ART draw from PyTorch's generator",
}


def table(promise, methods=None, sizes=lambda sizes: sizes[:1], only=lambda victim: True):
    """Every victim with every method of `methods` that it has, and every size where asked."""
    rows = []
    for name, (kind, _) in VICTIMS.items():
        for method in kind.methods:
            if (methods and method not in methods) or not only(kind):
                continue
            if (name, method) == ("features-undefended", "upstream"):
                continue  # it has none
            reason = BROKEN.get((promise, method))
            # In one of many combinations it may hold by chance.
            marks = [pytest.mark.xfail(reason=reason)] if reason else []
            for size in sizes(kind.sizes):
                row = (name, method, size)
                rows.append(pytest.param(*row, marks=marks, id="-".join(map(str, row))))
    return pytest.mark.parametrize(("name", "method", "size"), rows)


@pytest.fixture
def victim(name, victim_of):
    return victim_of(name)


@pytest.fixture(scope="session")
def attacked(victim_of):
    """All utterances of a victim attacked together, once a session."""
    return functools.cache(
        lambda name, method, size: victim_of(name).attack(victim_of(name).items, method, size)
    )


@table("budget", sizes=list)
def test_the_budget_is_held_in_double_precision(victim, method, size):
    found = victim.attack(victim.items, method, size, share=0.7)
    for item, attacked in zip(victim.items, found.last, strict=True):
        assert attacked.dtype == np.float32 and attacked.shape == item.clean.shape
        assert victim.holds(size, item.clean, attacked)
    moved = [(x != item.clean).any() for item, x in zip(victim.items, found.last, strict=True)]
    assert any(moved) or method == "square"  # a few squares may all be worse than nothing


@table("alone")
def test_an_utterance_alone_gets_what_it_gets_in_a_batch(victim, attacked, name, method, size):
    """Up to rounding, which is another in a padded batch and which signs may turn around."""
    together = attacked(name, method, size).last
    for item, expected in zip(victim.items, together, strict=True):
        alone = victim.attack([item], method, size).last[0]
        if size.norm == 2:
            np.testing.assert_allclose(alone, expected, atol=1e-4 * victim.radius(size, alone))
        else:
            same = np.isclose(alone, expected, atol=1e-4 * np.max(victim.radius(size, alone)))
            assert same.mean() > 0.99


# APGD of ART gives back the random start of what it has not turned.
@table("stronger", ("pgd", "fgsm", "upstream"))
def test_an_attack_is_stronger_than_none(victim, method, size):
    small = size._replace(value=0.1 * size.value)
    clean, found = (
        victim.strength(victim.items, inputs, method)
        for inputs in (
            [item.clean for item in victim.items],
            victim.attack(victim.items, method, small).last,
        )
    )
    assert found.sum() > clean.sum()


@table("best", ITERATES, only=lambda victim: victim.best)
def test_more_budget_is_never_weaker_where_the_best_is_kept(victim, method, size):
    def strength(share, **options):
        found = victim.attack(victim.items, method, size, share=share, **options)
        return victim.strength(victim.items, found.last, method)

    # Steps so long that the last iterate is often not the best; starts that make a difference.
    for share, more in ((1.5, {"steps": (6,)}), (0.2, {"steps": (1,), "restarts": 4})):
        few, many = strength(share, steps=(1,)), strength(share, **more)
        slack = 1e-5 * np.abs(few)
        assert (many >= few - slack).all() and (many > few + slack).any()


@table("snapshots", ITERATES, only=lambda victim: victim.snapshots)
def test_one_run_gives_what_separate_runs_give(victim, method, size):
    together = victim.attack(victim.items, method, size, steps=(1, 2, STEPS))
    assert sorted(together.inputs) == [1, 2, STEPS]
    for steps, found in together.inputs.items():
        alone = victim.attack(victim.items, method, size, steps=(steps,)).last
        for a, b in zip(found, alone, strict=True):
            np.testing.assert_array_equal(a, b)


@table("art", ("fgsm", "pgd"), lambda sizes: [s for s in sizes if s.unit == "absolute"])
def test_iterates_are_those_of_art_on_equal_lengths(victim, method, size):
    options = {} if method == "fgsm" or not victim.best else {"best": False}
    for steps, share in ((1, 0.4), (STEPS, 0.4), (STEPS, 0.7)):
        found = victim.attack(
            victim.equal, method, size, steps=(steps,), share=share, start="clean", **options
        )
        expected = victim.art(method, size, steps, share)
        np.testing.assert_allclose(np.stack(found.last), expected, atol=1e-4 * size.value)


@pytest.mark.parametrize("factor", [0.0, math.nan, math.inf])
@table("stalled", ASKS_FOR_GRADIENTS)
def test_a_gradient_that_says_nothing_is_counted_and_spoils_no_other(
    victim, attacked, name, method, size, factor
):
    bad, *good = victim.items
    plain = attacked(name, method, size)
    with victim.spoiled([bad], factor):
        found = victim.attack(victim.items, method, size)
    steps = 1 if method == "fgsm" else STEPS
    assert plain.stalled == [0] * len(victim.items)
    assert found.stalled[1:] == [0] * len(good)
    assert found.stalled[0] >= steps if method == "apgd" else found.stalled[0] == steps
    for one, expected in zip(found.last[1:], plain.last[1:], strict=True):
        np.testing.assert_array_equal(one, expected)
    assert np.isfinite(found.last[0]).all()


@table("nothing changed")
def test_nothing_but_the_result_has_changed(victim, method, size):
    net = victim.net.train()
    next(net.children()).eval()
    held = next(p for p in net.parameters() if p.requires_grad)
    held.requires_grad_(False)
    learned = next(p for p in net.parameters() if p.requires_grad)
    learned.grad = torch.ones_like(learned)
    inputs = [item.clean.copy() for item in victim.items]
    before = everything(net)
    try:
        victim.attack(victim.items, method, size)
        assert_same(everything(net), before)
        for item, clean in zip(victim.items, inputs, strict=True):
            np.testing.assert_array_equal(item.clean, clean)
        assert all(p.grad is None for p in net.parameters() if p is not learned)
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
