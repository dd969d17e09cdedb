import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ENCODERS, RATE, noise, tiny_model, tiny_recognizer

from espnet_ext.asr.batching import (
    TOLERANCE,
    exact_batching,
    padding_error,
    plan_batches,
)
from espnet_ext.asr.losses import evaluation_mode, prepare_targets, utterance_losses
from espnet_ext.asr.waveforms import pad

LEGACY = {"rel_pos_type": "legacy", "cnn_module_kernel": 7}
CASES = {
    **{name: {"encoder": name} for name in ENCODERS},
    "utterance variance": {"normalize_conf": {"norm_vars": True}},
    "variance without mean": {"normalize_conf": {"norm_means": False, "norm_vars": True}},
    "convolutional feed-forward": {
        "encoder_conf": {**ENCODERS["conformer"], "positionwise_layer_type": "conv1d"}
    },
    **{
        name: {"encoder_conf": {**ENCODERS["conformer"], "input_layer": name}}
        for name in ("conv2d2", "conv2d6", "conv2d8")
    },
}
TEXTS = [[3, 4], [2, 2], [7], [9]]


def gradient(model, waves, texts):
    speech, lengths = pad(waves)
    speech.requires_grad_()
    targets = prepare_targets(model, texts, "cpu")
    loss = utterance_losses(model, speech, lengths, targets, 0.5).total.sum()
    return torch.autograd.grad(loss, speech)[0]


def worst_error(model, waves, alone):
    """Largest relative error of a gradient in a batch against those of each utterance alone."""
    together = gradient(model, waves, TEXTS)
    assert model.training is False
    return max(
        float((row[: len(expected)] - expected).norm() / expected.norm())
        for row, expected in zip(together, alone, strict=True)
    )


@pytest.mark.parametrize("case", CASES)
def test_each_utterance_of_a_padded_batch_has_the_gradient_it_has_alone(case):
    model = tiny_model(**CASES[case])
    waves = noise(9000, 8000, 5001, 4000)
    with evaluation_mode(model):
        # As ESPnet computes it, without this project's layers.
        alone = [gradient(model, [w], [t])[0] for w, t in zip(waves, TEXTS, strict=True)]
        plain = worst_error(model, waves, alone)
        with exact_batching(model):
            exact = worst_error(model, waves, alone)
    assert plain > 0.01, "the case shows nothing"
    assert exact <= TOLERANCE


def test_no_gradient_leaks_into_the_padding():
    model = tiny_model()
    waves = noise(9000, 8000, 5001, 4000)
    with evaluation_mode(model), exact_batching(model):
        rows = gradient(model, waves, TEXTS)
    for wave, row in zip(waves, rows, strict=True):
        assert row[len(wave) :].abs().sum() == 0.0


def test_model_is_as_before_after_the_block():
    model = tiny_model(normalize_conf={"norm_vars": True})
    waves = noise(9000, 8000, 5001, 4000)
    with evaluation_mode(model):
        before = gradient(model, waves, TEXTS)
        with exact_batching(model), exact_batching(model):
            inside = gradient(model, waves, TEXTS)
        after = gradient(model, waves, TEXTS)
    assert torch.equal(before, after)
    assert not torch.allclose(before, inside)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_probe_tells_exact_models_from_legacy_ones():
    assert padding_error(tiny_model(), RATE) <= TOLERANCE
    assert padding_error(tiny_model(encoder_conf=LEGACY), RATE) > 0.01


def test_probe_works_where_gradients_are_off():
    with torch.no_grad():
        assert padding_error(tiny_model(), RATE) <= TOLERANCE


def error_of_scaled_output(scale, **options):
    model = tiny_model(**options)
    with torch.no_grad():
        model.encoder.after_norm.weight *= scale
        model.encoder.after_norm.bias *= scale
    return padding_error(model, RATE)


@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_probe_works_whatever_the_size_of_the_encoder_output(scale):
    assert error_of_scaled_output(scale) <= TOLERANCE
    assert error_of_scaled_output(scale, encoder_conf=LEGACY) > 0.01


def test_a_gradient_of_zero_is_no_proof_that_padding_is_exact():
    assert error_of_scaled_output(0.0) == 1.0


def test_legacy_model_batches_equal_lengths_only(caplog):
    lengths = [8000, 7900, 8000, 7900]
    assert tiny_recognizer().batches(lengths, 4) == [[0, 2, 1, 3]]
    legacy = tiny_recognizer(encoder_conf=LEGACY)
    assert legacy.batches(lengths, 4) == [[0, 2], [1, 3]]
    assert "equal length" in caplog.text
    # Found out on the model, not guessed.
    assert "self_attn (LegacyRelPositionMultiHeadedAttention) sees the padding" in caplog.text


lengths_of_sets = st.lists(st.integers(1, 10_000), min_size=1, max_size=60)


@given(lengths=lengths_of_sets, count=st.integers(1, 9), overhead=st.floats(0.0, 20_000.0))
@settings(max_examples=200)
def test_plan_loses_nobody_and_begins_with_the_longest(lengths, count, overhead):
    plan = plan_batches(lengths, count, overhead)
    assert sorted(i for batch in plan for i in batch) == list(range(len(lengths)))
    assert all(len(batch) <= count for batch in plan)
    longest = [max(lengths[i] for i in batch) for batch in plan]
    assert longest == sorted(longest, reverse=True)


def cost(plan, lengths, overhead):
    return sum(overhead + len(b) * max(lengths[i] for i in b) for b in plan)


def partitions(items, count):
    """Every way to divide `items` into batches."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for size in range(min(count, len(items))):
        for others in itertools.combinations(rest, size):
            left = [i for i in rest if i not in others]
            for plan in partitions(left, count):
                yield [[first, *others], *plan]


@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=6),
    count=st.integers(1, 4),
    overhead=st.integers(0, 100),
)
@settings(max_examples=50)
def test_no_other_plan_costs_less(lengths, count, overhead):
    found = cost(plan_batches(lengths, count, overhead), lengths, overhead)
    indices = list(range(len(lengths)))
    assert found == min(cost(p, lengths, overhead) for p in partitions(indices, count))


@given(lengths=lengths_of_sets)
def test_without_padding_only_equal_lengths_share_a_batch(lengths):
    for batch in plan_batches(lengths, 8, overhead=1e6, equal_lengths=True):
        assert len({lengths[i] for i in batch}) == 1
