"""Our attacks as attacks of ART, beside ART's own."""

import math

import numpy as np
import pytest
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
from art.defences.preprocessor import GaussianAugmentation
from tiny import noise, tiny_recognizer
from tiny_countermeasure import feature_batch, trained, utterances
from tiny_victims import found as attacked

from espnet_ext.asr.waveforms import like
from espnet_ext.attack import (
    Budget,
    Evasion,
    Fgsm,
    Noise,
    Pgd,
    PyTorchCountermeasure,
    PyTorchESPnet,
)
from espnet_ext.errors import InputError

Y = ["one two", "three", "four five six"]
PAPER = {"start": "clean", "best": False}


@pytest.fixture(scope="module")
def estimator():
    return PyTorchESPnet(tiny_recognizer(), 0.5)


@pytest.fixture(scope="module")
def away(estimator):
    return PyTorchESPnet(estimator.recognizer, 0.5, goal="not_reference")


@pytest.fixture(scope="module")
def equal():
    return np.stack(noise(8000, 8000, 8000))


@pytest.fixture(scope="module")
def ragged():
    return like([], noise(8000, 6000, 4001))


@pytest.fixture(params=["senet", "lcnn"])
def net(request):
    return trained(request.param)


def norms(adversarial, clean, norm=2):
    return [
        float(np.linalg.norm(a.astype(np.float64) - c, ord=norm))
        for a, c in zip(adversarial, clean, strict=True)
    ]


def paper(estimator, *steps, eps=0.2, norm=2, eps_step=0.05, **options):
    return Evasion(
        estimator, Pgd(steps=steps, eps_step=eps_step, **{**PAPER, **options}), Budget(norm, eps)
    )


@pytest.mark.parametrize(
    ("norm", "eps", "eps_step"), [(2, 0.12, 0.05), (2, 9.0, 0.05), (math.inf, 0.0022, 0.001)]
)
@pytest.mark.parametrize("targeted", [True, False])
def test_iterates_on_a_recogniser_are_those_of_art(
    estimator, away, equal, norm, eps, eps_step, targeted
):
    victim = estimator if targeted else away
    art = ProjectedGradientDescent(
        victim, norm=norm, eps=eps, eps_step=eps_step, max_iter=5, targeted=targeted, verbose=False
    )
    ours = paper(victim, 5, norm=norm, eps=eps, eps_step=eps_step)
    np.testing.assert_allclose(ours.generate(equal, Y), art.generate(equal, Y), atol=1e-5)


def test_art_breaks_its_l2_budget_on_ragged_speech_and_the_engine_holds_it(estimator, ragged):
    art = ProjectedGradientDescent(
        estimator, norm=2, eps=0.1, eps_step=0.05, max_iter=20, targeted=True, verbose=False
    )
    assert min(norms(art.generate(ragged, np.array(Y)), ragged)) > 0.2
    assert max(norms(paper(estimator, 20, eps=0.1).generate(ragged, Y), ragged)) <= 0.1


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize(
    ("norm", "eps", "eps_step"), [(math.inf, 0.02, 0.008), (2, 0.5, 0.2)], ids=["Linf", "L2"]
)
def test_iterates_on_a_countermeasure_are_those_of_art(net, steps, norm, eps, eps_step):
    batch = feature_batch(net, 8)
    x, y = batch.inputs[:, : int(batch.lengths.min())].numpy(), batch.labels.numpy()
    victim = PyTorchCountermeasure(net, x.shape[1:])
    art = ProjectedGradientDescent(
        victim, norm=norm, eps=eps, eps_step=eps_step, max_iter=steps, verbose=False
    )
    ours = paper(victim, steps, norm=norm, eps=eps, eps_step=eps_step)
    np.testing.assert_allclose(ours.generate(x, y), art.generate(x, y), atol=1e-5)


@pytest.mark.parametrize("norm", [2, math.inf])
def test_fgsm_is_that_of_art(net, norm):
    batch = feature_batch(net, 8)
    x, y = batch.inputs[:, : int(batch.lengths.min())].numpy(), batch.labels.numpy()
    victim = PyTorchCountermeasure(net, x.shape[1:])
    expected = FastGradientMethod(victim, norm=norm, eps=0.3).generate(x, y)
    for goals in (y, np.eye(2)[y]):
        ours = Evasion(victim, Fgsm(), Budget(norm, 0.3), batch_size=3).generate(x, goals)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_structure_of_the_input_is_kept(estimator, equal, ragged):
    attack = paper(estimator, 1, 2)
    for x in (equal, equal.astype(np.float64), ragged, list(ragged)):
        snapshots = attack.generate_snapshots(x, Y)
        assert list(snapshots) == [1, 2]
        last = attack.generate(x, Y)
        for one, given, end in zip(last, x, snapshots[2], strict=True):
            assert one.dtype == np.float32 and one.shape == given.shape
            np.testing.assert_array_equal(one, end)
    assert attack.generate(equal, Y).shape == equal.shape


def test_order_and_company_of_utterances_do_not_matter(estimator, ragged):
    attack = paper(estimator, 5, eps=0.3)
    forward = attack.generate(ragged, Y)
    backward = attack.generate(ragged[::-1], Y[::-1])[::-1]
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_equal_length_batches_where_padding_is_not_exact():
    conf = {"rel_pos_type": "legacy", "cnn_module_kernel": 7}
    attack = paper(PyTorchESPnet(tiny_recognizer(encoder_conf=conf), 0.5), 3)
    waves = like([], noise(6000, 5900, 6000))
    together = attack.generate(waves, Y)
    for wave, text, one in zip(waves, Y, together, strict=True):
        np.testing.assert_allclose(attack.generate(wave[None], [text])[0], one, atol=1e-5)


def test_random_starts_depend_on_the_names(estimator, ragged):
    attack = paper(estimator, 1, eps_step=1e-9, start="random")
    first = attack.generate(ragged, Y, names=["a", "b", "c"])
    again = attack.generate(ragged, Y, names=["a", "x", "y"])
    np.testing.assert_allclose(again[0], first[0], atol=1e-6)
    assert not np.allclose(again[1], first[1], atol=1e-4)
    assert max(norms(first, ragged)) <= 0.2


def test_without_references_the_attack_moves_away_from_what_is_heard():
    recognizer = tiny_recognizer(ctc_weight=1.0)
    recognizer.model.ctc.ctc_lo.bias.data[:2] = -20.0  # neither blank nor <unk>
    victim = PyTorchESPnet(recognizer, 1.0, goal="not_reference")
    # Every frame a word, no blank between equal ones: feasible because it was heard.
    waves = np.stack(noise(4000))
    heard = victim.predict(waves)
    loss = victim.compute_loss(waves, heard)
    moved = paper(victim, 20, eps=5.0).generate(waves)
    assert (victim.compute_loss(moved, heard) > loss).all()


def test_only_a_target_must_have_room_in_the_audio(estimator, away):
    waves, long = np.stack(noise(4000)), [" ".join(["one"] * 40)]
    with pytest.raises(InputError, match="needs 79 encoder frames"):
        paper(estimator, 1).generate(waves, long)
    assert paper(away, 1).generate(waves, long).shape == waves.shape


def test_lengths_names_and_decisions_of_countermeasures(net):
    batch, victim = feature_batch(net, 8), PyTorchCountermeasure(net)
    x, options = batch.inputs.numpy(), {"lengths": batch.lengths.numpy(), "names": batch.names}
    method = Pgd(steps=3)
    attack = Evasion(victim, method, Budget(math.inf, 0.05), batch_size=3)
    found = attack.generate(x, batch.labels.numpy(), **options)
    expected = attacked(victim, batch, method, 0.05).numpy()
    assert np.isclose(found, expected, atol=1e-5).mean() > 0.99
    _, labels = utterances(8, seed=2)
    np.testing.assert_array_equal(
        attack.generate(x, **options), attack.generate(x, labels, **options)
    )


def test_what_is_missing_or_too_much_is_refused(estimator, equal):
    attack = paper(estimator, 1)
    with pytest.raises(InputError, match="target transcripts"):
        attack.generate(equal)
    with pytest.raises(InputError, match="3 inputs, but 1 goals"):
        attack.generate(equal, ["one"])
    with pytest.raises(InputError, match="3 inputs, but 2 names"):
        attack.generate(equal, Y, names=["a", "b"])
    with pytest.raises(InputError, match="batch_size"):
        Evasion(estimator, Noise(), Budget(2, 1.0), batch_size=0)


def test_nothing_is_attacked_before_everything_is_checked(estimator, ragged, monkeypatch):
    attack = Evasion(estimator, Noise(), Budget(2, 1.0), batch_size=1)
    monkeypatch.setattr(Noise, "run", lambda *_: pytest.fail("attacked"))
    with pytest.raises(InputError, match="utterance 2: "):
        attack.generate(ragged, [*Y[:2], "unheard-of"])
    spoiled = [wave.copy() for wave in ragged]
    spoiled[1][5] = np.nan
    with pytest.raises(InputError, match=r"input 1 is not finite: nan at index \[5\]"):
        attack.generate(spoiled, Y)


def test_preprocessing_of_art_is_refused(estimator):
    defence = GaussianAugmentation(sigma=0.5, augmentation=False, apply_predict=True)
    defended = PyTorchESPnet(estimator.recognizer, 0.5, preprocessing_defences=defence)
    with pytest.raises(InputError, match="does not see ART preprocessing"):
        paper(defended, 1)
