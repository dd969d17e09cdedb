import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescent
from espnet_ext.attack.pgd import AttackBatch, AttackState, _BatchAttack
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import noise, tiny_recognizer
from torch.utils._python_dispatch import TorchDispatchMode

from espnet_ext.asr.waveforms import like
from espnet_ext.attack import ProjectedGradientDescentASR, PyTorchESPnet
from espnet_ext.errors import InputError

Y = ["one two", "three", "four five six"]
LEGACY = {"rel_pos_type": "legacy", "cnn_module_kernel": 7}


@pytest.fixture(scope="module")
def estimator():
    return PyTorchESPnet(tiny_recognizer(), 0.5)


@pytest.fixture(scope="module")
def equal():
    return np.stack(noise(8000, 8000, 8000))


@pytest.fixture(scope="module")
def ragged():
    return like([], noise(8000, 6000, 4001))


def norms(adversarial, clean, norm=2):
    return [
        float(np.linalg.norm(a.astype(np.float64) - c, ord=norm))
        for a, c in zip(adversarial, clean, strict=True)
    ]


@pytest.mark.parametrize(
    ("norm", "eps", "eps_step"), [(2, 0.12, 0.05), (2, 9.0, 0.05), (math.inf, 0.0022, 0.001)]
)
@pytest.mark.parametrize("targeted", [True, False])
def test_iterates_are_those_of_art_on_equal_lengths(
    estimator, equal, norm, eps, eps_step, targeted
):
    options = {"norm": norm, "eps": eps, "eps_step": eps_step, "targeted": targeted}
    art = ProjectedGradientDescent(estimator, max_iter=5, verbose=False, **options)
    ours = ProjectedGradientDescentASR(estimator, max_iter=5, **options)
    np.testing.assert_allclose(ours.generate(equal, Y), art.generate(equal, Y), atol=1e-5)


def test_art_breaks_its_l2_budget_on_ragged_speech_and_the_engine_holds_it(estimator, ragged):
    options = {"norm": 2, "eps": 0.1, "eps_step": 0.05, "max_iter": 20}
    art = ProjectedGradientDescent(estimator, targeted=True, verbose=False, **options)
    ours = ProjectedGradientDescentASR(estimator, **options)
    assert min(norms(art.generate(ragged, np.array(Y)), ragged)) > 0.2
    assert max(norms(ours.generate(ragged, Y), ragged)) <= 0.1


@given(
    norm=st.sampled_from([2, math.inf]),
    snr=st.floats(5.0, 90.0),
    steps=st.integers(1, 4),
    random_start=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_budget_holds_in_double_precision_whatever_it_is(norm, snr, steps, random_start):
    waves = noise(4000, 3001)
    estimator = PyTorchESPnet(tiny_recognizer(), 1.0)
    attack = ProjectedGradientDescentASR(
        estimator, norm=norm, snr=snr, eps_step=0.02, max_iter=steps, random_start=random_start
    )
    adversarial = attack.generate(like([], waves), ["one", "two"])
    for wave, found, size in zip(waves, adversarial, norms(adversarial, waves, norm), strict=True):
        assert found.dtype == np.float32
        assert size <= attack.budget.radius(wave)


@pytest.mark.parametrize("norm", [2, math.inf])
@pytest.mark.parametrize("random_start", [False, True])
def test_samples_stay_in_the_range_of_a_waveform(estimator, norm, random_start):
    loud = [np.sign(wave) * 0.999 for wave in noise(4000, 3001)]
    options = {"eps": 5.0, "eps_step": 1.0, "max_iter": 2, "random_start": random_start}
    attack = ProjectedGradientDescentASR(estimator, norm=norm, **options)
    for found in attack.generate(like([], loud), ["one", "two"]):
        assert np.abs(found).max() == 1.0


def test_attack_lowers_the_loss_of_the_target_and_raises_that_of_the_reference(estimator, ragged):
    clean = estimator.compute_loss(ragged, Y)
    for targeted, sign in ((True, -1), (False, 1)):
        attack = ProjectedGradientDescentASR(estimator, eps=1.0, max_iter=10, targeted=targeted)
        change = estimator.compute_loss(attack.generate(ragged, Y), Y) - clean
        assert (sign * change > 0).all()


def test_untargeted_attack_without_references_moves_away_from_what_is_heard():
    recognizer = tiny_recognizer(ctc_weight=1.0)
    recognizer.model.ctc.ctc_lo.bias.data[:2] = -20.0  # neither blank nor <unk>
    estimator = PyTorchESPnet(recognizer, 1.0)
    # Every frame a word, no blank between equal ones: feasible because it was heard.
    waves = np.stack(noise(4000))
    attack = ProjectedGradientDescentASR(estimator, eps=5.0, max_iter=20, targeted=False)
    heard = estimator.predict(waves)
    loss = estimator.compute_loss(waves, heard)
    assert (estimator.compute_loss(attack.generate(waves), heard) > loss).all()


def test_only_a_target_must_have_room_in_the_audio(estimator):
    waves, long = np.stack(noise(4000)), [" ".join(["one"] * 40)]
    options = {"eps": 0.1, "max_iter": 1}
    with pytest.raises(InputError, match="needs 79 encoder frames"):
        ProjectedGradientDescentASR(estimator, **options).generate(waves, long)
    away = ProjectedGradientDescentASR(estimator, targeted=False, **options)
    assert away.generate(waves, long).shape == waves.shape


def test_one_run_gives_what_separate_runs_give(estimator, ragged):
    counts = [2, 5, 7, 10]
    together = ProjectedGradientDescentASR(estimator, eps=0.3, steps=counts)
    found = together.generate_snapshots(ragged, Y)
    assert list(found) == counts
    for count in counts:
        alone = ProjectedGradientDescentASR(estimator, eps=0.3, max_iter=count)
        for a, b in zip(found[count], alone.generate(ragged, Y), strict=True):
            np.testing.assert_array_equal(a, b)


def test_order_and_company_of_utterances_do_not_matter(estimator, ragged):
    attack = ProjectedGradientDescentASR(estimator, eps=0.3, max_iter=5)
    forward = attack.generate(ragged, Y)
    backward = attack.generate(ragged[::-1], Y[::-1])[::-1]
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.fixture
def batch(ragged):
    return AttackBatch(["u1", "u2", "u3"], list(ragged), Y)


@pytest.mark.parametrize("options", [{}, {"decay": 0.9}, {"random_start": True}])
def test_interrupted_attack_ends_as_an_uninterrupted_one(estimator, batch, options):
    attack = ProjectedGradientDescentASR(estimator, eps=0.2, steps=[3, 8], **options)
    whole = attack.attack_batch(batch)
    kept = []

    def keep_fourth(state):
        if state.step == 4:
            kept.append(
                replace(
                    state,
                    adversarial=state.adversarial.clone(),
                    momentum=state.momentum.clone(),
                    snapshots=dict(state.snapshots),
                )
            )

    attack.attack_batch(batch, on_step=keep_fourth)
    resumed = attack.attack_batch(batch, kept[0])
    assert resumed.step == 8
    for step in (3, 8):
        assert torch.equal(whole.snapshots[step], resumed.snapshots[step])


def test_random_start_depends_on_utterance_and_seed_and_nothing_else(estimator, ragged):
    def start(names, seed):
        attack = ProjectedGradientDescentASR(
            estimator, eps=0.2, eps_step=1e-9, max_iter=1, random_start=True, seed=seed
        )
        return attack.generate(ragged, Y, names=names)

    first = start(["a", "b", "c"], 0)
    for same, other in ((["a", "x", "y"], 0), (["a", "b", "c"], 0)):
        np.testing.assert_allclose(start(same, other)[0], first[0], atol=1e-6)
    assert not np.allclose(start(["a", "b", "c"], 1)[0], first[0], atol=1e-4)
    assert not np.allclose(start(["z", "b", "c"], 0)[0], first[0], atol=1e-4)
    assert max(norms(first, ragged)) <= 0.2


def test_momentum_keeps_the_direction_of_earlier_steps(estimator, equal):
    plain, heavy = (
        ProjectedGradientDescentASR(estimator, eps=9.0, max_iter=6, decay=decay)
        for decay in (0.0, 1.0)
    )
    # With momentum successive steps agree more, so the path is straighter and longer.
    assert sum(norms(heavy.generate(equal, Y), equal)) > sum(norms(plain.generate(equal, Y), equal))


def test_utterance_that_has_reached_its_target_is_left_alone(ragged):
    estimator = PyTorchESPnet(tiny_recognizer(), 0.5)
    targets = ["one two three four five six seven", "one", "two"]
    # The longest target is heard at the first check, so that the others go on without it.
    estimator.transcribe = lambda speech, lengths: [targets[0], "x", "y"][: len(lengths)]
    attack = ProjectedGradientDescentASR(
        estimator, eps=9.0, steps=[3, 4, 5, 12], stop_on_success=True, check_every=4
    )
    state = attack.attack_batch(AttackBatch(["a", "b", "c"], list(ragged), targets))
    assert state.running.tolist() == [False, True, True]
    assert (state.snapshots[4] != state.snapshots[3]).any(dim=-1).all()
    for step in (5, 12):
        moved = (state.snapshots[step] != state.snapshots[4]).any(dim=-1)
        assert moved.tolist() == [False, True, True]


def test_equal_length_batches_where_padding_is_not_exact():
    recognizer = tiny_recognizer(encoder_conf=LEGACY)
    attack = ProjectedGradientDescentASR(PyTorchESPnet(recognizer, 0.5), eps=0.2, max_iter=3)
    waves = like([], noise(6000, 5900, 6000))
    together = attack.generate(waves, Y)
    for wave, text, found in zip(waves, Y, together, strict=True):
        np.testing.assert_allclose(attack.generate(wave[None], [text])[0], found, atol=1e-5)


def test_model_is_left_as_it_was(estimator, ragged):
    model = estimator.recognizer.model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ProjectedGradientDescentASR(estimator, eps=0.2, max_iter=3).generate(ragged, Y)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Transfers(TorchDispatchMode):
    """Counts reads of device values by the host: on a GPU each waits for the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_adds_no_host_transfer_to_the_model(estimator, batch):
    attack = ProjectedGradientDescentASR(estimator, eps=0.2, max_iter=3, decay=0.9)
    with estimator.attack_mode():
        running = _BatchAttack(attack, batch)
        state = running.begin()
        running.step(state)  # the first one also looks whether the targets are possible
        with Transfers() as model_alone:
            estimator.input_gradient(state.adversarial, running.lengths, running.targets)
        with Transfers() as step:
            running.step(state)
    assert step.count == model_alone.count


def test_vanishing_gradients_are_counted_and_move_nothing(estimator, batch, caplog):
    attack = ProjectedGradientDescentASR(estimator, eps=0.2, max_iter=2)
    original = estimator.input_gradient

    def vanishing(speech, lengths, targets):
        gradient, losses = original(speech, lengths, targets)
        gradient[0], gradient[1] = 0.0, math.nan
        return gradient, losses

    estimator.input_gradient = vanishing
    try:
        state = attack.attack_batch(batch)
    finally:
        del estimator.input_gradient
    assert state.stalled.tolist() == [2, 2, 0]
    found = attack.snapshots(batch, state)[2]
    assert norms(found, batch.waves)[:2] == [0.0, 0.0]
    assert "2 utterances" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "eps or as snr"),
        ({"eps": 1.0, "snr": 3.0}, "eps or as snr"),
        ({"eps": -1.0}, "positive"),
        ({"eps": 1.0, "norm": 1}, "norm"),
        ({"eps": 1.0, "eps_step": 0.0}, "eps_step"),
        ({"eps": 1.0, "max_iter": 5, "steps": [9]}, "between 1 and max_iter"),
        ({"eps": 1.0, "batch_size": 0}, "batch_size"),
    ],
)
def test_contradicting_arguments_are_refused(estimator, options, message):
    with pytest.raises(InputError, match=message):
        ProjectedGradientDescentASR(estimator, **options)


def test_targets_must_be_given_and_be_as_many_as_the_waveforms(estimator, equal):
    attack = ProjectedGradientDescentASR(estimator, eps=0.1, max_iter=1)
    with pytest.raises(InputError, match="target transcripts"):
        attack.generate(equal)
    with pytest.raises(InputError, match="3 waveforms, but 1"):
        attack.generate(equal, ["one"])


def test_state_holds_only_tensors_and_numbers():
    kinds = {type(v) for v in vars(AttackState(*[0] * 5)).values()}
    assert kinds <= {int, float, dict}
