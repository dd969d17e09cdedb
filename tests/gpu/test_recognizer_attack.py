"""The attack on recognizers on a GPU, against the same on a CPU."""

import copy
import math

import numpy as np
import pytest
import torch
from tiny import noise, tiny_recognizer
from tiny_victims import copy_of, run

from espnet_ext.asr.waveforms import like
from espnet_ext.attack import Budget, Evasion, Pgd, PyTorchESPnet
from espnet_ext.attack.state import about, load_state, save_state

pytestmark = pytest.mark.gpu

Y = ["one two", "three", "four five six"]
NAMES = ["u1", "u2", "u3"]


def constant(*steps, eps_step=0.05, start="clean", **options):
    """PGD of constant steps whose last one is kept."""
    return Pgd(steps=steps, eps_step=eps_step, start=start, best=False, **options)


def estimator_of(encoder, device, **options):
    recurrent = {"hidden_size": 16, "num_layers": 1} if encoder == "rnn" else None
    recognizer = tiny_recognizer(encoder=encoder, encoder_conf=recurrent)
    recognizer.model.to(device)
    return PyTorchESPnet(recognizer, 0.5, **options)


@pytest.fixture(scope="module", params=["conformer", "transformer", "e_branchformer", "rnn"])
def both(request, device):
    """One model on the CPU and on the device."""
    return estimator_of(request.param, "cpu"), estimator_of(request.param, device)


@pytest.fixture(scope="module")
def there(device):
    return estimator_of("conformer", device)


@pytest.fixture(scope="module")
def ragged():
    return like([], noise(8000, 6000, 4001))


@pytest.fixture
def waves(ragged):
    return list(ragged)


def largest(found, expected):
    """Largest difference of any sample."""
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


def cosines(found, expected):
    return [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(found, expected, strict=True)
    ]


def test_losses_and_transcripts_are_those_of_the_cpu(both, ragged, record_property):
    here, there = both
    expected, found = (estimator.compute_loss(ragged, Y) for estimator in both)
    record_property("relative", float(np.abs(found / expected - 1).max()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert here.predict(ragged).tolist() == there.predict(ragged).tolist()


def test_gradients_are_those_of_the_cpu(both, ragged, record_property):
    expected, found = (estimator.loss_gradient(ragged, Y) for estimator in both)
    errors = [
        float(np.linalg.norm(a - b) / np.linalg.norm(b))
        for a, b in zip(found, expected, strict=True)
    ]
    record_property("relative", max(errors))
    assert max(errors) < 1e-3


@pytest.mark.parametrize(
    ("budget", "method", "limit"),
    [
        (Budget(2, 0.12), constant(5), 1e-4),
        (Budget(2, 25.0, "snr"), constant(5, decay=0.9, start="random"), 1e-4),
        # The sign of a component that is almost zero may be another: two steps apart at most.
        (Budget(math.inf, 0.0022), constant(5, eps_step=0.001), 0.0044),
    ],
)
def test_iterates_over_five_steps_are_those_of_the_cpu(
    both, ragged, budget, method, limit, record_property
):
    expected, found = (Evasion(estimator, method, budget).generate(ragged, Y) for estimator in both)
    record_property("largest", largest(found, expected))
    assert largest(found, expected) <= limit
    moved = [(a - x, b - x) for a, b, x in zip(found, expected, ragged, strict=True)]
    assert min(cosines(*zip(*moved, strict=True))) > 0.99


@pytest.mark.parametrize("norm", [2, math.inf])
def test_budget_holds_in_double_precision(there, ragged, norm):
    attack = Evasion(there, constant(10), Budget(norm, 30.0, "snr"))
    for wave, found in zip(ragged, attack.generate(ragged, Y), strict=True):
        size = np.linalg.norm(found.astype(np.float64) - wave, ord=norm)
        assert 0.9 * attack.budget.radius(wave) < size <= attack.budget.radius(wave)


@pytest.mark.parametrize("options", [{}, {"decay": 0.9}, {"stop_on_success": True}])
def test_resumed_attack_ends_as_an_uninterrupted_one(
    there, waves, options, tmp_path, record_property
):
    method, budget, path = constant(3, 8, **options), Budget(2, 0.2), tmp_path / "state.pt"
    batch = there.batch(NAMES, waves, Y)

    def save(state):
        if state.step == 4:
            save_state(path, about(batch, Y), state)

    whole = run(there, batch, method, budget, on_step=save)
    again = run(there, copy_of(batch), method, budget)
    state = load_state(path, about(batch, Y), batch, method.snapshots)
    resumed = run(there, batch, method, budget, state=state)
    assert resumed.step == 8
    for step in (3, 8):
        # Sums in an order that changes from run to run are all that may part them.
        apart = float((whole.snapshots[step] - again.snapshots[step]).abs().max())
        difference = float((whole.snapshots[step] - resumed.snapshots[step]).abs().max())
        record_property(f"step {step}", f"two runs {apart:.1e}, resumed {difference:.1e}")
        assert difference == 0.0 if apart == 0.0 else difference < 1e-4


def test_what_was_begun_on_the_gpu_ends_on_the_cpu(there, waves, tmp_path):
    here = estimator_of("conformer", "cpu")
    method, budget, path = constant(8), Budget(2, 0.2), tmp_path / "state.pt"
    batch, same = (victim.batch(NAMES, waves, Y) for victim in (there, here))

    def save(state):
        if state.step == 4:
            save_state(path, about(batch, Y), state)

    whole = run(there, batch, method, budget, on_step=save)
    state = load_state(path, about(same, Y), same, method.snapshots)
    assert state.step == 4
    found = run(here, same, method, budget, state=state)
    ends = (b.arrays(s.snapshots[8]) for b, s in ((batch, whole), (same, found)))
    assert largest(*ends) < 1e-4


def test_mixed_precision_follows_full_precision(there, ragged, device, record_property):
    mixed = PyTorchESPnet(there.recognizer, 0.5, autocast="bfloat16")
    cosine = cosines(mixed.loss_gradient(ragged, Y), there.loss_gradient(ragged, Y))
    record_property("cosine", min(cosine))
    assert min(cosine) > 0.9
    clean = there.compute_loss(ragged, Y)
    attack = Evasion(mixed, constant(10), Budget(2, 1.0))
    assert (there.compute_loss(attack.generate(ragged, Y), Y) < clean).all()
    # What is measured afterwards is in full precision.
    np.testing.assert_array_equal(mixed.compute_loss(ragged, Y), clean)


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_model_and_settings_of_pytorch_are_left_as_they_were(device, ragged, autocast):
    estimator = estimator_of("conformer", device, autocast=autocast)
    model = estimator.recognizer.model.train()
    model.ctc.eval()
    cudnn = torch.backends.cudnn
    modes = {name: module.training for name, module in model.named_modules()}
    before = copy.deepcopy(model.state_dict())
    flags = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    Evasion(estimator, constant(3), Budget(2, 0.2)).generate(ragged, Y)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == flags
    assert {p.device.type for p in model.parameters()} == {device}
