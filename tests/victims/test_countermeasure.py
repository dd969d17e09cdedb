import numpy as np
import pytest
import torch
from art.attacks.evasion import (
    AutoProjectedGradientDescent,
    FastGradientMethod,
    ProjectedGradientDescent,
    SquareAttack,
)
from tiny_countermeasure import DIMS, FRAMES, feature_batch, model, trained, wave_batch
from tiny_victims import alone, values

from espnet_ext.defense import SmoothingFilter
from espnet_ext.errors import InputError
from espnet_ext.precision import frozen
from espnet_ext.victims.countermeasure import PyTorchCountermeasure

EPS = 1.0


@pytest.fixture(params=["senet", "lcnn"])
def net(request):
    return trained(request.param)


def rectangular(net, count=8):
    """Features (N, F, D) of one length and labels, as ART takes them."""
    batch = feature_batch(net, count)
    frames = int(batch.lengths.min())
    return batch.inputs[:, :frames].numpy(), batch.labels.numpy()


def state(net):
    """All that an attack must not change."""
    modes = {name: module.training for name, module in net.named_modules()}
    wanted = {name: p.requires_grad for name, p in net.named_parameters()}
    return modes, wanted, {k: v.clone() for k, v in net.state_dict().items()}


def assert_unchanged(net, before):
    modes, wanted, weights = before
    assert {n: m.training for n, m in net.named_modules()} == modes
    assert {n: p.requires_grad for n, p in net.named_parameters()} == wanted
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def art_attacks(estimator):
    common = {"norm": np.inf, "eps": EPS, "batch_size": 4}
    quiet = {**common, "verbose": False}
    return {
        "fgsm": FastGradientMethod(estimator, **common),
        "pgd": ProjectedGradientDescent(estimator, eps_step=0.25, max_iter=5, **quiet),
        "apgd": AutoProjectedGradientDescent(
            estimator, eps_step=2 * EPS, max_iter=5, nb_random_init=1, **quiet
        ),
    }


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd"])
def test_attacks_of_art_run_and_leave_the_model_as_it_was(net, name):
    x, y = rectangular(net)
    net.train()
    before = state(net)
    estimator = PyTorchCountermeasure(net, x.shape[1:])
    adversarial = art_attacks(estimator)[name].generate(x, y)
    assert adversarial.shape == x.shape and adversarial.dtype == np.float32
    assert 0.0 < np.abs(adversarial - x).max() <= EPS * 1.001
    right = (estimator.predict(x).argmax(1) == y).mean()
    assert right == 1.0 and (estimator.predict(adversarial).argmax(1) == y).mean() < 0.5
    assert_unchanged(net, before)


def test_the_square_attack_of_art_takes_a_plane_without_clip_values(net):
    x, y = rectangular(net)
    estimator = PyTorchCountermeasure(net, (1, *x.shape[1:]))
    attack = SquareAttack(estimator, eps=4.0, max_iter=20, p_init=0.1, verbose=False)
    np.random.seed(0)
    adversarial = attack.generate(x[:, np.newaxis], y)[:, 0]
    assert np.abs(adversarial - x).max() <= 4.0 * 1.001
    assert (estimator.predict(adversarial).argmax(1) == y).mean() < 1.0


def test_predictions_are_the_logits_of_the_model(net):
    batch = feature_batch(net, 4)
    x, _ = rectangular(net, 4)
    estimator = PyTorchCountermeasure(net, x.shape[1:])
    lengths = torch.full((4,), x.shape[1])
    with torch.no_grad():
        expected = net.logits(torch.from_numpy(x), lengths).numpy()
        padded = net.logits(batch.inputs, batch.lengths)
    np.testing.assert_allclose(estimator.predict(x, batch_size=3), expected, atol=1e-5)
    np.testing.assert_allclose(estimator.predict(x.astype(np.float64)), expected, atol=1e-5)
    with torch.no_grad():
        found = estimator.logits(batch.inputs, batch.lengths)
    torch.testing.assert_close(found, padded)


def test_the_gradient_is_that_of_the_cross_entropy_in_evaluation_mode(net):
    x, y = rectangular(net)
    estimator = PyTorchCountermeasure(net, x.shape[1:])
    inputs = torch.from_numpy(x).requires_grad_()
    logits = net.logits(inputs, torch.full((len(x),), x.shape[1]))
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)).backward()
    np.testing.assert_allclose(estimator.loss_gradient(x, y), inputs.grad.numpy(), atol=1e-6)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="none")
    np.testing.assert_allclose(estimator.compute_loss(x, y), loss.detach().numpy(), atol=1e-6)
    assert estimator.class_gradient(x, label=1).shape == (len(x), 1, *x.shape[1:])


@pytest.mark.parametrize(("threshold", "answer"), [(-1e6, 1), (1e6, 0)])
def test_what_the_threshold_decides_is_to_be_left_without_classes(net, threshold, answer):
    arrays = list(feature_batch(net, 3).inputs.numpy())
    victim = PyTorchCountermeasure(net, threshold=threshold)
    assert victim.batch(["a", "b", "c"], arrays).labels.tolist() == [answer] * 3


def test_scaled_inputs_are_multiples_of_the_scale(net):
    x, y = rectangular(net)
    scale = torch.linspace(0.5, 2.0, DIMS)
    plain = PyTorchCountermeasure(net, x.shape[1:])
    scaled = PyTorchCountermeasure(net, x.shape[1:], scale=scale)
    by_scale = x / scale.numpy()
    np.testing.assert_allclose(scaled.predict(by_scale), plain.predict(x), atol=1e-4)
    expected = plain.loss_gradient(x, y) * scale.numpy()
    np.testing.assert_allclose(scaled.loss_gradient(by_scale, y), expected, atol=1e-5)


def test_waveforms_are_attacked_through_the_front_end(net):
    batch = wave_batch(4)
    samples = int(batch.lengths.min())
    x, y = batch.inputs[:, :samples].numpy(), batch.labels.numpy()
    estimator = PyTorchCountermeasure(net, (samples,), space="waveform")
    attack = ProjectedGradientDescent(
        estimator, norm=np.inf, eps=0.05, eps_step=0.01, max_iter=10, verbose=False
    )
    adversarial = attack.generate(x, y)
    assert np.abs(adversarial - x).max() <= 0.05 * 1.001 and np.abs(adversarial).max() <= 1.0
    assert (estimator.predict(x).argmax(1) == y).all()
    assert (estimator.predict(adversarial).argmax(1) == y).mean() < 0.5


def test_training_mode_is_another_function_and_leaves_no_trace():
    net = trained("lcnn")
    x, y = rectangular(net)
    before = state(net)
    evaluation = PyTorchCountermeasure(net, x.shape[1:])
    training = PyTorchCountermeasure(net, x.shape[1:], train_mode=True)
    np.testing.assert_array_equal(evaluation.loss_gradient(x, y), evaluation.loss_gradient(x, y))
    assert not np.allclose(training.loss_gradient(x, y), evaluation.loss_gradient(x, y))
    assert not np.allclose(training.loss_gradient(x, y), training.loss_gradient(x, y))
    np.testing.assert_array_equal(training.predict(x), evaluation.predict(x))
    assert np.isfinite(training.loss_gradient(x[:1], y[:1])).all()
    assert_unchanged(net, before)


def test_training_mode_cuts_segments_as_evaluation_does():
    net = trained("senet")
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    long = torch.randn(2, 3 * FRAMES, DIMS)
    estimator = PyTorchCountermeasure(net, train_mode=True)
    with estimator.attack_mode():
        assert net.encoder.training and not net.training
        lengths = torch.full((2,), 3 * FRAMES)
        cut = estimator.logits(long[:, :FRAMES], torch.full((2,), FRAMES))
        torch.testing.assert_close(estimator.logits(long, lengths), cut)


def test_the_losses_of_a_batch_are_those_of_its_utterances(net):
    batch = feature_batch(net, 4)
    estimator = PyTorchCountermeasure(net)
    for loss in ("cross_entropy", "margin"):
        together = values(estimator, batch, batch.inputs, loss)
        for row in range(4):
            one = alone(batch, row)
            found = values(estimator, one, one.inputs, loss)[0]
            torch.testing.assert_close(found, together[row], atol=1e-4, rtol=1e-4)


def test_margin_and_cross_entropy_have_one_sign_of_gradient(net):
    batch = feature_batch(net, 4)
    estimator = PyTorchCountermeasure(net)
    signs = []
    for loss in ("cross_entropy", "margin"):
        inputs = batch.inputs.clone().requires_grad_()
        gains = estimator.objective(batch, loss)(inputs, slice(None))
        signs.append(torch.autograd.grad(gains.sum(), inputs)[0].sign())
    assert (signs[0] != signs[1]).float().mean() < 0.01


def test_representations_are_what_the_defence_makes_of_features():
    smooth = SmoothingFilter(DIMS, "mean", 3)
    net = model(defense=smooth)
    batch = feature_batch(net, 2)
    found, _ = PyTorchCountermeasure(net).representations(batch.inputs, batch.lengths)
    torch.testing.assert_close(found, smooth(batch.inputs, batch.lengths)[0])
    waves = wave_batch(2)
    estimator = PyTorchCountermeasure(net, space="waveform")
    by_wave, _ = estimator.representations(waves.inputs, waves.lengths)
    torch.testing.assert_close(by_wave, found)
    estimator = PyTorchCountermeasure(model(), space="waveform")
    plain, _ = estimator.representations(waves.inputs, waves.lengths)
    torch.testing.assert_close(plain, batch.inputs)
    with pytest.raises(InputError, match="attack the waveform where it is the front end"):
        PyTorchCountermeasure(model()).representations(batch.inputs, batch.lengths)


def test_gradients_pass_straight_through_the_median_where_asked():
    net = trained(defense=SmoothingFilter(DIMS, "median", 3))
    x, y = rectangular(net, 4)
    own = PyTorchCountermeasure(net, x.shape[1:])
    through = PyTorchCountermeasure(net, x.shape[1:], through_filters=True)
    np.testing.assert_array_equal(own.predict(x), through.predict(x))
    assert (own.loss_gradient(x, y) == 0.0).mean() > (through.loss_gradient(x, y) == 0.0).mean()
    assert not net.defense.straight_through


def test_integers_and_what_is_not_finite_are_refused():
    estimator = PyTorchCountermeasure(model())
    x = np.zeros((2, FRAMES, DIMS), dtype=np.float32)
    x[1, 3, 2] = np.nan
    with pytest.raises(InputError, match=r"input 1 is not finite: nan at index \[3, 2\]"):
        estimator.predict(x)
    with pytest.raises(InputError, match="input 0 is an array of int64"):
        estimator.predict(np.zeros((2, FRAMES, DIMS), dtype=np.int64))


def test_another_space_is_refused():
    with pytest.raises(InputError, match="features, waveform"):
        PyTorchCountermeasure(model(), space="spectrogram")


def test_frozen_restores_what_a_failing_block_changed():
    net = model("lcnn").train()
    net.encoder.stem.requires_grad_(False)
    gradient = torch.ones_like(net.loss.weight)
    net.loss.weight.grad = gradient
    before = state(net)[:2]
    with pytest.raises(ZeroDivisionError), frozen(net, train=True):
        assert not any(p.requires_grad for p in net.parameters())
        net.zero_grad()
        net.encoder.norm1.running_mean.add_(1.0)
        raise ZeroDivisionError
    assert state(net)[:2] == before and net.loss.weight.grad is gradient
    assert (net.encoder.norm1.running_mean == 0.0).all()
