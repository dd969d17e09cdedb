import logging

import pytest
import torch
from tiny import greedy_search, noise, task_arguments, tiny_config, tiny_model

from espnet_ext.asr.batching import exact_batching
from espnet_ext.asr.losses import (
    check_supported,
    evaluation_mode,
    prepare_targets,
    required_frames,
    utterance_losses,
)
from espnet_ext.asr.waveforms import pad
from espnet_ext.errors import InputError
from espnet_ext.tasks.mtl_asr import MTLASRTask

TEXTS = [[3, 4, 5], [6], [7, 7]]


def stock_losses(model, wave, ids):
    """CTC and attention loss of one utterance, by ESPnet's own functions."""
    speech, lengths = pad([wave])
    text, text_lengths = torch.tensor([ids]), torch.tensor([len(ids)])
    encoded = model.encode(speech, lengths)
    ctc = model.ctc(*encoded, text, text_lengths)
    att = model._calc_att_loss(*encoded, text.clone(), text_lengths.clone())[0]
    return ctc, att


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("length_normalized_loss", [False, True])
def test_loss_of_each_utterance_is_espnets_loss_of_it_alone(ctc_weight, length_normalized_loss):
    model = tiny_model(length_normalized_loss=length_normalized_loss)
    waves = noise(6000, 5000, 4001)
    with evaluation_mode(model):
        alone = [stock_losses(model, w, ids) for w, ids in zip(waves, TEXTS, strict=True)]
        with exact_batching(model):
            targets = prepare_targets(model, TEXTS, "cpu")
            losses = utterance_losses(model, *pad(waves), targets, ctc_weight)
    expected = torch.stack([ctc_weight * ctc + (1 - ctc_weight) * att for ctc, att in alone])
    torch.testing.assert_close(losses.total, expected, rtol=1e-4, atol=1e-5)
    assert (losses.ctc is None) == (ctc_weight == 0.0)
    assert (losses.att is None) == (ctc_weight == 1.0)


def test_language_token_is_put_in_front_and_changes_nothing_outside():
    model = tiny_model(lang_token_id=2)
    wave = noise(5000)[0]
    with evaluation_mode(model):
        _, expected = stock_losses(model, wave, [3, 4])
        targets = prepare_targets(model, [[3, 4]], "cpu")
        before = [field.clone() for field in targets]
        first = utterance_losses(model, *pad([wave]), targets, 0.0).total
        second = utterance_losses(model, *pad([wave]), targets, 0.0).total
    torch.testing.assert_close(first, expected[None])
    torch.testing.assert_close(second, first)
    assert all(torch.equal(a, b) for a, b in zip(targets, before, strict=True))


def test_frozen_model_is_restored_even_after_an_error():
    model = tiny_model(report_cer=True).train()
    model.encoder.embed.eval()
    next(model.decoder.parameters()).requires_grad_(False)
    model.ctc.dropout_rate = 0.2
    modes = [m.training for m in model.modules()]
    trainable = [p.requires_grad for p in model.parameters()]
    calculator = model.error_calculator
    with pytest.raises(KeyError), evaluation_mode(model):
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        assert model.ctc.dropout_rate == 0.0
        assert model.error_calculator is None
        raise KeyError
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == trainable
    assert model.ctc.dropout_rate == 0.2
    assert model.error_calculator is calculator is not None


def test_gradients_leave_the_models_state_untouched():
    model = tiny_model().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    speech, lengths = pad(noise(5000, 4000))
    with evaluation_mode(model):
        speech.requires_grad_()
        targets = prepare_targets(model, TEXTS[:2], "cpu")
        utterance_losses(model, speech, lengths, targets, 0.5).total.sum().backward()
    assert speech.grad.abs().sum() > 0
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_evaluation_mode_makes_ctc_dropout_free_and_repeatable():
    model = tiny_model().train()
    model.ctc.dropout_rate = 0.5
    wave = pad(noise(5000))
    targets = prepare_targets(model, [[3, 4]], "cpu")
    with evaluation_mode(model):
        values = {utterance_losses(model, *wave, targets, 1.0).total.item() for _ in range(3)}
    assert len(values) == 1


@pytest.mark.parametrize(
    ("ids", "frames"), [([3], 1), ([3, 4], 2), ([3, 3], 3), ([3, 3, 3, 4, 4], 8)]
)
def test_ctc_needs_a_frame_a_token_and_one_between_equal_tokens(ids, frames):
    assert required_frames(ids) == frames
    log_probs = torch.randn(frames, 1, 6).log_softmax(-1)
    ctc = torch.nn.CTCLoss(zero_infinity=False)
    for available, feasible in ((frames, True), (frames - 1, False)):
        if available == 0:
            continue
        loss = ctc(log_probs[:available], torch.tensor([ids]), [available], [len(ids)])
        assert bool(loss.isfinite()) == feasible


@pytest.mark.parametrize(
    ("trained", "asked", "message"),
    [(0.0, 0.5, "no CTC|has none"), (1.0, 0.5, "decoder"), (0.5, 1.5, "between 0 and 1")],
)
def test_weight_without_its_head_is_refused(trained, asked, message):
    with pytest.raises(InputError, match=message):
        check_supported(tiny_model(ctc_weight=trained), asked)
    check_supported(tiny_model(ctc_weight=trained), trained)


def test_a_target_too_long_for_ctc_adds_nothing_and_spoils_no_gradient():
    model = tiny_model()
    speech, lengths = pad(noise(5000, 4000))
    possible, impossible = [3, 4], [5] * 60
    with evaluation_mode(model):
        speech.requires_grad_()
        losses = [
            utterance_losses(
                model, speech, lengths, prepare_targets(model, [possible, ids], "cpu"), 0.5
            )
            for ids in (possible, impossible)
        ]
        losses[1].total.sum().backward()
    assert losses[1].ctc[1] == 0.0 and losses[1].ctc[0] > 0.0
    torch.testing.assert_close(losses[1].ctc[0], losses[0].ctc[0])
    torch.testing.assert_close(losses[1].total[1], 0.5 * losses[1].att[1])
    assert speech.grad.isfinite().all() and speech.grad.abs().sum(dim=1).min() > 0.0


def test_nothing_is_logged_for_every_utterance_and_step(caplog):
    """A recurrent decoder warns in each call of its mask, and beam search tells its lengths."""
    config = tiny_config()
    config |= {"decoder": "rnn", "decoder_conf": {"hidden_size": 16, "att_conf": {"adim": 16}}}
    model = MTLASRTask.build_model(task_arguments(config))
    speech = pad(noise(5000, 4000))
    targets = prepare_targets(model, [[3, 4], [5]], "cpu")
    caplog.set_level(logging.INFO)
    before = logging.getLogger().filters[:]
    with evaluation_mode(model):
        utterance_losses(model, *speech, targets, 0.5)
        greedy_search(model, *speech, 0.5)
        logging.warning("of the attack itself")
    assert caplog.messages == ["of the attack itself"]
    assert logging.getLogger().filters == before
