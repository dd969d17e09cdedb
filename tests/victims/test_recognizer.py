import numpy as np
import pytest
import torch
from art.attacks.evasion import (
    BasicIterativeMethod,
    CarliniWagnerASR,
    FastGradientMethod,
    ImperceptibleASR,
    MomentumIterativeMethod,
    ProjectedGradientDescent,
)
from art.attacks.evasion.imperceptible_asr.imperceptible_asr import PsychoacousticMasker
from art.defences.preprocessor import GaussianAugmentation
from tiny import RATE, noise, tiny_recognizer

from espnet_ext.asr.losses import encode, evaluation_mode, prepare_targets, utterance_losses
from espnet_ext.asr.waveforms import like, pad
from espnet_ext.errors import InputError
from espnet_ext.victims.base import ALL
from espnet_ext.victims.recognizer import PyTorchESPnet

Y = np.array(["one two", "three", "four five six"])


@pytest.fixture(scope="module")
def estimator():
    return PyTorchESPnet(tiny_recognizer(), 0.5)


@pytest.fixture(scope="module")
def equal():
    return np.stack(noise(8000, 8000, 8000))


@pytest.fixture(scope="module")
def ragged():
    return like([], noise(8000, 6000, 4001))


def finite_difference(estimator, wave, text, direction, size=1e-2):
    losses = [
        estimator.compute_loss((wave + sign * size * direction)[None], [text])[0]
        for sign in (1.0, -1.0)
    ]
    return (losses[0] - losses[1]) / (2.0 * size)


def test_gradient_agrees_with_finite_differences(estimator, equal):
    gradient = estimator.loss_gradient(equal[:1], Y[:1])[0]
    direction = gradient / np.linalg.norm(gradient)
    expected = finite_difference(estimator, equal[0], Y[0], direction)
    assert float(gradient @ direction) == pytest.approx(expected, rel=0.02)


def test_gradient_is_that_of_the_model_in_evaluation_mode_without_dropout(estimator, equal):
    model = estimator.recognizer.model
    speech, lengths = pad(list(equal))
    speech.requires_grad_()
    targets = prepare_targets(model, [estimator.token_ids(y) for y in Y], "cpu")
    with evaluation_mode(model):
        utterance_losses(model, speech, lengths, targets, 0.5).total.sum().backward()
    model.train()
    found = estimator.loss_gradient(equal, Y)
    assert model.training, "the estimator must give the mode back"
    model.eval()
    scale = speech.grad.abs().max()
    np.testing.assert_allclose(found / scale, speech.grad / scale, atol=1e-5)


def test_ragged_gradients_are_those_of_each_utterance_alone(estimator, ragged):
    together = estimator.loss_gradient(ragged, Y)
    assert together.dtype == object
    for wave, text, gradient in zip(ragged, Y, together, strict=True):
        alone = estimator.loss_gradient(wave[None], [text])[0]
        error = np.linalg.norm(gradient - alone) / np.linalg.norm(alone)
        assert error <= 1e-4


def test_nothing_of_the_model_changes(estimator, ragged):
    model = estimator.recognizer.model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    estimator.loss_gradient(ragged, Y)
    estimator.predict(ragged)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_predictions_do_not_depend_on_the_batch(estimator, ragged):
    together = estimator.predict(ragged, batch_size=3)
    assert together.tolist() == estimator.predict(ragged, batch_size=1).tolist()


def test_losses_are_per_utterance_and_can_be_reduced(estimator, ragged):
    losses = estimator.compute_loss(ragged, Y)
    assert losses.shape == (3,)
    assert estimator.compute_loss(ragged, Y, reduction="mean") == pytest.approx(losses.mean())
    assert estimator.compute_loss(ragged, Y, reduction="sum") == pytest.approx(losses.sum())


def test_inference_weight_chooses_the_heads(ragged):
    recognizer = tiny_recognizer()
    ctc, att, mixed = (
        PyTorchESPnet(recognizer, w).compute_loss(ragged, Y) for w in (1.0, 0.0, 0.3)
    )
    np.testing.assert_allclose(mixed, 0.3 * ctc + 0.7 * att, rtol=1e-4)
    assert PyTorchESPnet(recognizer).ctc_weight == recognizer.model.ctc_weight


ART_ATTACKS = {
    "PGD, L2": lambda e: ProjectedGradientDescent(
        e, norm=2, eps=0.5, eps_step=0.05, max_iter=10, targeted=True, verbose=False
    ),
    "PGD, L-inf": lambda e: ProjectedGradientDescent(
        e, norm=np.inf, eps=0.01, eps_step=0.002, max_iter=10, targeted=True, verbose=False
    ),
    "FGM": lambda e: FastGradientMethod(e, norm=2, eps=0.1, targeted=True),
    "BIM": lambda e: BasicIterativeMethod(
        e, eps=0.01, eps_step=0.002, max_iter=10, targeted=True, verbose=False
    ),
    "MIM": lambda e: MomentumIterativeMethod(
        e, eps=0.01, eps_step=0.002, max_iter=10, targeted=True, verbose=False
    ),
}


@pytest.mark.parametrize("name", ART_ATTACKS)
def test_arts_attacks_lower_the_loss_of_the_target(estimator, equal, name):
    adversarial = ART_ATTACKS[name](estimator).generate(equal, Y)
    assert adversarial.shape == equal.shape
    assert (estimator.compute_loss(adversarial, Y) < estimator.compute_loss(equal, Y)).all()


@pytest.fixture(scope="module")
def upper():
    return PyTorchESPnet(tiny_recognizer(), 0.5, output_case="upper")


def test_carlini_wagner_runs_on_ragged_speech(upper, ragged):
    attack = CarliniWagnerASR(upper, eps=0.05, learning_rate=0.001, max_iter=10, batch_size=3)
    adversarial = attack.generate(ragged, Y)
    assert (upper.compute_loss(adversarial, Y) < upper.compute_loss(ragged, Y)).all()


def test_imperceptible_runs_both_stages_on_ragged_speech(upper, shared_data):
    from espnet_ext.data.audio import read_audio

    paths = [shared_data / f"fsdd/recordings/{d}_george_9.wav" for d in (1, 2, 3)]
    speech = like([], [read_audio(path)[0] for path in paths])
    masker = PsychoacousticMasker(window_size=256, hop_size=64, sample_rate=RATE)
    attack = ImperceptibleASR(
        upper,
        masker,
        eps=0.05,
        learning_rate_1=0.001,
        max_iter_1=5,
        max_iter_2=5,
        learning_rate_2=1e-7,
        batch_size=3,
    )
    adversarial = attack.generate(speech, Y)
    for clean, wave in zip(speech, adversarial, strict=True):
        assert np.isfinite(wave.astype(float)).all()
        assert wave.shape == clean.shape
        assert 0.0 < np.abs(wave - clean).max() < 0.1


def test_carlini_wagner_can_recognise_its_success(upper, ragged):
    heard = upper.predict(ragged)
    assert all(text == text.upper() for text in heard)
    lower = PyTorchESPnet(upper.recognizer, 0.5).predict(ragged)
    assert [text.upper() for text in lower] == heard.tolist()


def test_padded_loss_and_transcript_are_those_of_each_utterance(estimator, ragged):
    speech, lengths = pad(list(ragged))
    loss, heard = estimator.compute_loss_and_decoded_output(
        speech.double().requires_grad_(), Y, real_lengths=lengths.numpy()
    )
    assert loss.item() == pytest.approx(estimator.compute_loss(ragged, Y).sum(), rel=1e-4)
    assert heard.tolist() == estimator.predict(ragged).tolist()
    assert loss.requires_grad


def test_training_mode_asked_for_by_art_changes_nothing(estimator):
    estimator.to_training_mode()
    estimator.set_batchnorm(True)
    assert not estimator.recognizer.model.training


def test_preprocessing_defences_of_art_are_applied(equal):
    defence = GaussianAugmentation(sigma=0.5, augmentation=False, apply_predict=True)
    defended = PyTorchESPnet(tiny_recognizer(), 0.5, preprocessing_defences=defence)
    np.random.seed(0)
    first = defended.loss_gradient(equal, Y)
    second = defended.loss_gradient(equal, Y)
    assert not np.allclose(first, second)


def test_preprocessing_for_training_is_left_out(estimator, equal):
    class TrainingOnly(GaussianAugmentation):
        def __call__(self, x, y=None):
            raise AssertionError("nothing is trained here")

    defence = TrainingOnly(augmentation=False)
    defended = PyTorchESPnet(estimator.recognizer, 0.5, preprocessing_defences=defence)
    assert defended.predict(equal).tolist() == estimator.predict(equal).tolist()
    np.testing.assert_array_equal(
        defended.loss_gradient(equal, Y), estimator.loss_gradient(equal, Y)
    )


def test_mixed_precision_gradient_points_the_same_way(equal):
    recognizer = tiny_recognizer()
    full = PyTorchESPnet(recognizer, 0.5).loss_gradient(equal, Y)
    half = PyTorchESPnet(recognizer, 0.5, autocast="bfloat16").loss_gradient(equal, Y)
    assert not np.array_equal(full, half)
    for a, b in zip(full, half, strict=True):
        assert float(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) > 0.9


def test_a_target_too_long_for_the_audio_is_refused_with_the_utterance(estimator):
    waves, names = like([], noise(2000, 8000)), ["u1", "u2"]
    frames = estimator.recognizer.frames.of(2000)
    texts = [" ".join(["one"] * frames), "one"]
    needed = rf"utterance u1: .* needs {2 * frames - 1} encoder frames.* has {frames}"
    with pytest.raises(InputError, match=needed):
        estimator.batch(names, waves, texts)
    # A decoder needs no blank between equal tokens, but stops at as many tokens as frames.
    decoder = PyTorchESPnet(estimator.recognizer, 0.0)
    decoder.batch(names, waves, texts)
    # What is only to be left need not have room.
    away = PyTorchESPnet(estimator.recognizer, 0.5, goal="not_reference")
    assert away.batch(names, waves, [" ".join(["one"] * 40), "one"]).names == names
    texts[0] += " one"
    with pytest.raises(InputError, match=rf"utterance u1: .* needs {frames + 1} encoder frames"):
        decoder.batch(names, waves, texts)


@pytest.mark.parametrize("weight", [1.0, 0.0, 0.5])
def test_silence_is_the_path_of_blanks_and_the_end_as_first_token(weight):
    recognizer = tiny_recognizer()
    victim = PyTorchESPnet(recognizer, weight, goal="silence")
    batch = victim.batch(["a", "b"], noise(3000, 4000))
    assert batch.transcripts == ["", ""] and victim.goal_of({"target": "one"}) == ""
    model = recognizer.model
    with torch.no_grad(), victim.attack_mode():
        encoded, lengths = encode(model, batch.inputs, batch.lengths)
        blanks = model.ctc.log_softmax(encoded)[..., 0]
        start = torch.full((2, 1), model.sos)
        logits, _ = model.decoder(encoded, lengths, start, torch.ones(2, dtype=torch.long))
        ctc = torch.stack([-row[:n].sum() for row, n in zip(blanks, lengths, strict=True)])
        ends = torch.tensor([[model.eos]])
        att = torch.stack([model.criterion_att(logits[i : i + 1], ends) for i in range(2)])
        losses = victim.objective(batch)(batch.inputs, ALL)
        # A part of the batch has the same loss, and no column of targets either.
        first = victim.objective(batch)(batch.inputs[:1], torch.tensor([0]))
    expected = weight * ctc + (1.0 - weight) * att
    assert torch.allclose(-losses, expected, rtol=1e-5)
    assert torch.allclose(first, losses[:1], rtol=1e-4)
    rows = victim.observe(batch, batch.inputs)
    assert [row["reached"] for row in rows] == [row["hypothesis"] == "" for row in rows]


def test_the_goal_says_which_transcript_of_an_utterance_counts(estimator):
    labels = {"reference": "one", "target": "two"}
    goals = {
        goal: PyTorchESPnet(estimator.recognizer, 0.5, goal=goal).goal_of(labels)
        for goal in ("transcript", "not_reference", "silence")
    }
    assert goals == {"transcript": "two", "not_reference": "one", "silence": ""}
    away = PyTorchESPnet(estimator.recognizer, 0.5, goal="not_reference")
    assert away.goal_of({"reference": None, "target": "two"}) == "two"


def test_audio_too_short_for_the_model_is_heard_as_nothing_and_has_no_gradient(estimator):
    shortest = estimator.recognizer.frames.shortest
    waves = like([], noise(shortest - 1, 8000))
    heard = estimator.predict(waves)
    assert heard[0] == "" and heard[1] == estimator.predict(waves[1:])[0]
    with pytest.raises(InputError, match=f"waveform 0: too short: {shortest - 1} samples"):
        estimator.loss_gradient(waves, ["one", "one"])


def test_integers_and_what_is_not_finite_are_refused(estimator):
    good = noise(3000)[0]
    with pytest.raises(InputError, match=r"waveform 1 is an array of int16; .*32768"):
        estimator.predict(like([], [good, (good * 32767).astype(np.int16)]))
    for value in (np.nan, np.inf):
        bad = good.copy()
        bad[7] = value
        for method in (estimator.predict, lambda x: estimator.loss_gradient(x, ["one", "one"])):
            with pytest.raises(InputError, match=r"waveform 1 is not finite: .* index \[7\]"):
                method(np.stack([good, bad]))


@pytest.mark.parametrize("method", ["loss_gradient", "compute_loss"])
@pytest.mark.parametrize(
    ("samples", "texts", "message"),
    [
        ([2000, 100], ["one", "one"], "waveform 1: too short"),
        ([2000], ["one " * 50], "encoder frames"),
        ([2000, 2000], ["one"], "2 waveforms, but 1 transcripts"),
    ],
)
def test_waveforms_and_transcripts_that_do_not_fit_are_refused(
    estimator, method, samples, texts, message
):
    with pytest.raises(InputError, match=message):
        getattr(estimator, method)(like([], noise(*samples)), texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ctc_weight": 2.0}, "between 0 and 1"),
        ({"output_case": "title"}, "output_case"),
        ({"autocast": "float16"}, "autocast"),
        ({"goal": "anything"}, "goal must be transcript, not_reference or silence"),
        ({"loss_ctc_weight": 1.5}, "between 0 and 1"),
        ({"loss_ctc_weight": "trainin"}, "a number, training or null"),
        ({"ctc_weight": "0.5"}, "a number between"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        PyTorchESPnet(tiny_recognizer(), **options)


def test_parameters_can_be_set_as_arts_are(equal):
    estimator = PyTorchESPnet(tiny_recognizer(), 0.5)
    estimator.set_params(ctc_weight=1.0)
    assert estimator.ctc_weight == 1.0
    with pytest.raises(InputError):
        estimator.set_params(ctc_weight=7.0)


@pytest.mark.parametrize(("chosen", "weight"), [("training", 0.5), (0.5, 0.5), (None, 0.0)])
def test_another_loss_than_that_of_inference_can_be_attacked(equal, chosen, weight):
    """The decoder decides, the attacker follows CTC as well."""
    recognizer = tiny_recognizer()  # trained at 0.5
    estimator = PyTorchESPnet(recognizer, 0.0, loss_ctc_weight=chosen)
    expected = PyTorchESPnet(recognizer, weight)
    np.testing.assert_array_equal(
        estimator.loss_gradient(equal, Y), expected.loss_gradient(equal, Y)
    )
    decoder = PyTorchESPnet(recognizer, 0.0)
    assert list(estimator.predict(equal)) == list(decoder.predict(equal))
    same = np.array_equal(estimator.loss_gradient(equal, Y), decoder.loss_gradient(equal, Y))
    assert same == (weight == 0.0)


def test_a_loss_that_the_model_cannot_give_is_refused():
    with pytest.raises(InputError, match="this model has none"):
        PyTorchESPnet(tiny_recognizer(ctc_weight=0.0), 0.0, loss_ctc_weight=0.5)


def test_the_attacked_loss_follows_inference_where_nothing_else_is_said():
    estimator = PyTorchESPnet(tiny_recognizer(), 0.5)
    estimator.set_params(ctc_weight=1.0)
    assert estimator.gradient_ctc_weight == 1.0


def test_recurrent_models_get_gradients_too():
    conf = {"num_layers": 1, "hidden_size": 16}
    recognizer = tiny_recognizer(encoder="rnn", encoder_conf=conf)
    gradient = PyTorchESPnet(recognizer, 1.0).loss_gradient(np.stack(noise(8000)), ["one"])
    assert np.abs(gradient).sum() > 0
