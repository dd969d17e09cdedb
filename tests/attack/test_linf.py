import itertools

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from espnet_ext.attack.countermeasure import PyTorchCountermeasure
from espnet_ext.attack.linf import Ball, Best, InputBatch, LinfPGD, RandomSigns, generator_of
from tiny_countermeasure import (
    DIMS,
    accuracy,
    feature_batch,
    model,
    trained,
    utterances,
    wave_batch,
)

from espnet_ext.defense import SmoothingFilter
from espnet_ext.errors import InputError

SCALE = torch.linspace(0.5, 2.0, DIMS)


@pytest.fixture(params=["senet", "lcnn"])
def net(request):
    return trained(request.param)


@pytest.fixture
def batch(net):
    return feature_batch(net, 8)


def loss_of(estimator, inputs, batch):
    with torch.no_grad(), estimator.attack_mode():
        return estimator.losses(inputs, batch.lengths, batch.labels)


def row_of(batch, row):
    """One utterance of a batch, alone and without padding."""
    length = int(batch.lengths[row])
    return InputBatch(
        [batch.names[row]],
        batch.inputs[row : row + 1, :length],
        batch.lengths[row : row + 1],
        batch.labels[row : row + 1],
    )


def exact_excess(inputs, batch, eps, scale):
    """How far the largest difference, computed exactly, is beyond the budget."""
    difference = (inputs.double() - batch.inputs.double()).abs()
    return float((difference - eps * torch.as_tensor(scale).double()).max())


def attacks(estimator, eps, scale=1.0):
    return {
        "fgsm": LinfPGD.fgsm(estimator, eps, scale),
        "pgd": LinfPGD(estimator, eps, scale, steps=4, restarts=2),
        "pgd from fgsm": LinfPGD(estimator, eps, scale, steps=4, start="fgsm", loss="margin"),
        "signs": RandomSigns(estimator, eps, scale),
    }


# The budget


@pytest.mark.parametrize("eps", [1e-3, 0.1, 1.0 / 3.0, 7.7])
@pytest.mark.parametrize("scale", [1.0, SCALE], ids=["one", "each"])
def test_the_budget_is_held_exactly_and_padding_stays_zero(net, batch, eps, scale):
    inside = batch.mask().bool().expand_as(batch.inputs)
    for name, attack in attacks(PyTorchCountermeasure(net), eps, scale).items():
        found = attack.attack_batch(batch)
        assert exact_excess(found, batch, eps, scale) <= 0.0, name
        assert (found[~inside] == 0.0).all() and (found[inside] != batch.inputs[inside]).any()


def test_fgsm_and_signs_use_the_whole_budget(net, batch):
    inside = batch.mask().bool().expand_as(batch.inputs)
    budget = (0.5 * SCALE).expand_as(batch.inputs)[inside]
    signs = RandomSigns(PyTorchCountermeasure(net), 0.5, SCALE).attack_batch(batch)
    torch.testing.assert_close((signs - batch.inputs).abs()[inside], budget)
    found = LinfPGD.fgsm(PyTorchCountermeasure(net), 0.5, SCALE).attack_batch(batch)
    size = (found - batch.inputs).abs()[inside]
    assert torch.isclose(size, budget).logical_or(size == 0.0).all()


def test_the_ball_is_rounded_towards_its_centre():
    inputs = torch.randn(2, 50, DIMS, generator=torch.Generator().manual_seed(0)) * 100
    batch = InputBatch(["a", "b"], inputs, torch.tensor([50, 30]), torch.tensor([0, 1]))
    ball = Ball.around(batch, 0.1, SCALE)
    radius = 0.1 * SCALE.double()
    assert (inputs.double() - ball.low.double() <= radius).all()
    assert (ball.high.double() - inputs.double() <= radius).all()
    assert (inputs[0].double() - ball.low[0].double() > radius - 1e-4).all()
    assert torch.equal(ball.low[1, 30:], inputs[1, 30:])


def test_waveforms_stay_in_their_range(net):
    batch = wave_batch(4)
    batch.inputs[0, :10], batch.inputs[1, :5] = 1.0, 1.5
    estimator = PyTorchCountermeasure(net, space="waveform")
    for attack in attacks(estimator, 0.3).values():
        found = attack.attack_batch(batch)
        assert exact_excess(found, batch, 0.3, 1.0) <= 0.0
        assert found[0].abs().max() <= 1.0
        assert found[1, :5].max() <= 1.5
        assert (found[batch.mask() == 0.0] == 0.0).all()


# The same as ART, utterance by utterance


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_iterates_are_those_of_art(net, batch, steps):
    frames = int(batch.lengths.min())
    x, y = batch.inputs[:, :frames].numpy(), batch.labels.numpy()
    estimator = PyTorchCountermeasure(net, x.shape[1:])
    art = ProjectedGradientDescent(
        estimator, norm=np.inf, eps=0.02, eps_step=0.008, max_iter=steps, verbose=False
    )
    ours = LinfPGD(estimator, 0.02, alpha=0.4, steps=steps, start="clean", best=False)
    np.testing.assert_allclose(ours.generate(x, y), art.generate(x, y), atol=1e-5)


def test_one_step_is_fgsm_of_art(net, batch):
    frames = int(batch.lengths.min())
    x, y = batch.inputs[:, :frames].numpy(), batch.labels.numpy()
    estimator = PyTorchCountermeasure(net, x.shape[1:])
    expected = FastGradientMethod(estimator, norm=np.inf, eps=0.3).generate(x, y)
    one_hot = np.eye(2)[y]
    found = LinfPGD.fgsm(estimator, 0.3, batch_size=3).generate(x, one_hot)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_utterance_gets_in_a_batch_what_it_gets_alone(batch, net):
    estimator = PyTorchCountermeasure(net)
    for name, attack in attacks(estimator, 0.05).items():
        together = attack.attack_batch(batch)
        for row in (0, 5):
            alone = attack.attack_batch(row_of(batch, row))[0]
            same = torch.isclose(together[row, : len(alone)], alone, atol=1e-5)
            # A gradient that is zero but for rounding may have either sign.
            assert same.float().mean() > 0.99, name


# Strength


def test_accuracy_falls_to_zero(net, batch):
    estimator = PyTorchCountermeasure(net)
    assert accuracy(estimator, batch.inputs, batch) == 1.0
    attack = LinfPGD(estimator, 1.0, steps=20, restarts=2)
    assert accuracy(estimator, attack.attack_batch(batch), batch) == 0.0
    noise = RandomSigns(estimator, 0.05).attack_batch(batch)
    assert accuracy(estimator, noise, batch) > 0.5


@pytest.mark.parametrize("start", ["clean", "random", "fgsm"])
def test_more_steps_are_never_weaker(net, batch, start):
    estimator = PyTorchCountermeasure(net)
    losses = [
        loss_of(
            estimator, LinfPGD(estimator, 0.3, steps=steps, start=start).attack_batch(batch), batch
        )
        for steps in (1, 2, 5, 10)
    ]
    for fewer, more in itertools.pairwise(losses):
        assert (more >= fewer - 1e-5).all()
    assert losses[-1].sum() > losses[0].sum()


def test_more_restarts_are_never_weaker(net, batch):
    estimator = PyTorchCountermeasure(net)
    one, three = (
        loss_of(
            estimator,
            LinfPGD(estimator, 0.1, steps=3, restarts=restarts).attack_batch(batch),
            batch,
        )
        for restarts in (1, 3)
    )
    assert (three >= one - 1e-5).all() and (three > one + 1e-6).any()


@pytest.mark.parametrize("eps", [0.01, 0.1, 1.0])
def test_pgd_is_at_least_as_strong_as_fgsm(net, batch, eps):
    estimator = PyTorchCountermeasure(net)
    once = loss_of(estimator, LinfPGD.fgsm(estimator, eps).attack_batch(batch), batch)
    quarter = LinfPGD(estimator, eps, steps=10, alpha=0.25, start="clean")
    assert (loss_of(estimator, quarter.attack_batch(batch), batch) >= once - 1e-4).all()
    from_fgsm = LinfPGD(estimator, eps, steps=2, start="fgsm")
    assert (loss_of(estimator, from_fgsm.attack_batch(batch), batch) >= once - 1e-6).all()


def test_the_best_step_is_kept_where_steps_overshoot(net, batch):
    estimator = PyTorchCountermeasure(net)
    options = {"steps": 6, "alpha": 2.0, "start": "clean"}
    best = LinfPGD(estimator, 0.5, **options).attack_batch(batch)
    last = LinfPGD(estimator, 0.5, best=False, **options).attack_batch(batch)
    difference = loss_of(estimator, best, batch) - loss_of(estimator, last, batch)
    assert (difference >= -1e-5).all()


def test_waveforms_are_attacked_in_one_padded_batch(net):
    batch = wave_batch(6)
    estimator = PyTorchCountermeasure(net, space="waveform")
    found = LinfPGD(estimator, 0.05, steps=10).attack_batch(batch)
    assert accuracy(estimator, batch.inputs, batch) == 1.0
    assert accuracy(estimator, found, batch) < 0.5


def test_the_attack_on_the_upstream_moves_its_representations():
    net = trained(defense=SmoothingFilter(DIMS, "mean", 3))
    batch, estimator = feature_batch(net, 4), PyTorchCountermeasure(net)

    def distance(inputs):
        clean, _ = estimator.representations(batch.inputs, batch.lengths)
        return (estimator.representations(inputs, batch.lengths)[0] - clean).norm(dim=(1, 2))

    steps = {"steps": 10, "loss": "representation"}
    found = distance(LinfPGD(estimator, 0.3, **steps).attack_batch(batch))
    assert (found > 1.5 * distance(RandomSigns(estimator, 0.3).attack_batch(batch))).all()
    fewer = distance(LinfPGD(estimator, 0.3, steps=2, loss="representation").attack_batch(batch))
    assert (found >= fewer - 1e-5).all()


def test_an_adaptive_attack_goes_through_the_defence():
    net = trained(defense=SmoothingFilter(DIMS, "median", 3))
    batch = feature_batch(net, 8)
    unaware = PyTorchCountermeasure(trained())
    transferred = LinfPGD(unaware, 0.2, steps=10).attack_batch(batch)
    for through in (False, True):
        estimator = PyTorchCountermeasure(net, through_filters=through)
        adaptive = LinfPGD(estimator, 0.2, steps=10).attack_batch(batch)
        loss = loss_of(estimator, adaptive, batch).mean()
        assert loss > loss_of(estimator, batch.inputs, batch).mean()
        if not through:
            assert loss > loss_of(estimator, transferred, batch).mean()


# Nothing else changes; the same again


def test_the_model_is_left_as_it_was(net, batch):
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    inputs = batch.inputs.clone()
    for train_mode in (False, True):
        estimator = PyTorchCountermeasure(net, train_mode=train_mode)
        for attack in attacks(estimator, 0.1).values():
            assert not attack.attack_batch(batch).requires_grad
    assert all(m.training for m in net.modules() if not isinstance(m, torch.nn.Identity))
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(batch.inputs, inputs)


def test_random_numbers_belong_to_utterance_and_seed(net, batch):
    estimator = PyTorchCountermeasure(net)
    for make in (RandomSigns, LinfPGD):
        first = make(estimator, 0.1, seed=1).attack_batch(batch)
        assert torch.equal(make(estimator, 0.1, seed=1).attack_batch(batch), first)
        assert not torch.equal(make(estimator, 0.1, seed=2).attack_batch(batch), first)
    renamed = InputBatch(batch.names[::-1], batch.inputs, batch.lengths, batch.labels)
    signs = RandomSigns(estimator, 0.1)
    assert not torch.equal(signs.attack_batch(renamed), signs.attack_batch(batch))
    assert generator_of("a", "1").random() != generator_of("b", "1").random()


def test_a_random_start_is_uniform_in_the_ball(net, batch):
    attack = LinfPGD(PyTorchCountermeasure(net), 0.1, steps=1, alpha=1e-6, best=False)
    inside = batch.mask().bool().expand_as(batch.inputs)
    moved = (attack.attack_batch(batch) - batch.inputs)[inside] / 0.1
    assert abs(float(moved.mean())) < 0.05 and abs(float(moved.abs().mean()) - 0.5) < 0.02
    assert (moved.abs() < 0.999).float().mean() > 0.99


def test_signs_are_the_same_at_every_budget(net, batch):
    estimator = PyTorchCountermeasure(net)
    small, large = (
        (RandomSigns(estimator, eps).attack_batch(batch) - batch.inputs).sign()
        for eps in (0.5, 8.0)
    )
    assert torch.equal(small, large)
    inside = small[batch.mask().bool().expand_as(small)]
    assert abs(float(inside.mean())) < 0.02


def test_generate_takes_lengths_and_names(net, batch):
    estimator = PyTorchCountermeasure(net)
    x, lengths = batch.inputs.numpy(), batch.lengths.numpy()
    options = {"lengths": lengths, "names": batch.names}
    attack = LinfPGD(estimator, 0.05, steps=3, batch_size=3)
    found = attack.generate(x, batch.labels.numpy(), **options)
    expected = LinfPGD(estimator, 0.05, steps=3).attack_batch(batch).numpy()
    assert np.isclose(found, expected, atol=1e-5).mean() > 0.99
    _, labels = utterances(8, seed=2)
    np.testing.assert_array_equal(
        attack.generate(x, **options), attack.generate(x, labels, **options)
    )


def test_an_infinite_gradient_does_not_poison_an_utterance():
    net = model()
    estimator = PyTorchCountermeasure(net)
    batch = feature_batch(net, 2)
    losses = estimator.losses

    def not_a_number(inputs, *others):
        return losses(inputs, *others) + torch.sqrt(inputs[:, 0, 0] * 0.0 - 1.0)

    estimator.losses = not_a_number
    found = LinfPGD(estimator, 0.1, steps=2, start="clean", best=False).attack_batch(batch)
    assert found.isfinite().all()


def spoiled(net, value, rows):
    """An estimator whose objective is multiplied by `value` for some utterances of a batch."""
    estimator = PyTorchCountermeasure(net)
    losses = estimator.losses

    def wrong(inputs, *others):
        factor = torch.ones(len(inputs))
        factor[rows] = value
        return losses(inputs, *others) * factor

    estimator.losses = wrong
    return estimator


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("start", ["clean", "random", "fgsm"])
def test_steps_without_a_usable_gradient_are_counted(net, batch, value, start):
    attack = LinfPGD(spoiled(net, value, [1, 3]), 0.1, steps=3, start=start)
    found, stalled = attack.attack_counted(batch)
    assert stalled.tolist() == [0, 3, 0, 3, 0, 0, 0, 0] and found.isfinite().all()
    plain = LinfPGD(PyTorchCountermeasure(net), 0.1, steps=3, start=start)
    assert plain.attack_counted(batch)[1].sum() == 0
    assert RandomSigns(attack.estimator, 0.1).attack_counted(batch)[1].sum() == 0


def test_of_equals_the_first_is_kept():
    inputs = torch.zeros(2, 3)
    found = Best(inputs, torch.tensor([1.0, 1.0])).or_better(inputs + 1.0, torch.tensor([1.0, 2.0]))
    assert found.inputs[:, 0].tolist() == [0.0, 1.0]


def test_what_is_no_number_is_never_the_best():
    nan, inputs = float("nan"), torch.zeros(3, 2, 2)
    found = Best(inputs, torch.tensor([nan, 1.0, nan]))
    found = found.or_better(inputs + 1.0, torch.tensor([-5.0, nan, nan]))
    assert found.values.tolist()[:2] == [-5.0, 1.0]
    assert found.inputs[:, 0, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, "eps must be positive"),
        ({"eps": float("nan")}, "eps must be positive"),
        ({"steps": 0}, "at least 1"),
        ({"restarts": 0}, "at least 1"),
        ({"batch_size": 0}, "batch_size"),
        ({"alpha": 0.0}, "alpha"),
        ({"start": "zero"}, "clean, random, fgsm"),
        ({"loss": "dlr"}, "cross_entropy, margin, representation"),
        ({"start": "clean", "restarts": 2}, "restarts need start 'random'"),
        ({"start": "clean", "loss": "representation"}, "needs start 'random'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        LinfPGD(PyTorchCountermeasure(model()), **{"eps": 1.0, **options})


@pytest.mark.parametrize("train_mode", [False, True])
def test_attacks_of_every_size_share_the_first_gradient(net, batch, train_mode, monkeypatch):
    estimator = PyTorchCountermeasure(net, train_mode=train_mode)
    calls = []
    losses = estimator.losses
    monkeypatch.setattr(estimator, "losses", lambda *a: calls.append(a) or losses(*a))
    found = [LinfPGD.fgsm(estimator, eps).attack_batch(batch) for eps in (0.1, 0.2)]
    assert len(calls) == (2 if train_mode else 1)
    if not train_mode:
        fresh = InputBatch(batch.names, batch.inputs, batch.lengths, batch.labels)
        assert torch.equal(LinfPGD.fgsm(estimator, 0.2).attack_batch(fresh), found[1])
        LinfPGD.fgsm(estimator, 0.1, loss="margin").attack_batch(batch)
        assert len(calls) == 3
