"""The message about padded batches names the part of the model that is to blame."""

import pytest
import torch
from tiny import RATE, tiny_model

from espnet_ext.asr.batching import TOLERANCE, padding_error
from espnet_ext.asr.padding_cause import padding_cause

LEGACY = {"rel_pos_type": "legacy", "cnn_module_kernel": 7}


class MeanOverBatch(torch.nn.Module):
    """A normalisation over all frames, padding included."""

    def forward(self, x, lengths=None):
        x = x - x.mean(dim=1, keepdim=True)
        return x if lengths is None else (x, lengths)


class Random(torch.nn.Module):
    """Dropout that is left on."""

    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.2, training=True)


class Leaky(torch.autograd.Function):
    """The identity, with the gradient of its neighbours."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient + gradient.mean(dim=1, keepdim=True)


class LeakyGradient(torch.nn.Module):
    """Right outputs, wrong gradients."""

    def forward(self, x):
        return Leaky.apply(x)


class Pooling(torch.nn.Module):
    """A convolution over time that nothing masks, and another one that is innocent."""

    def __init__(self):
        super().__init__()
        self.pool = torch.nn.AvgPool1d(9, stride=1, padding=4)

    def forward(self, x):
        return self.pool(x.transpose(1, 2)).transpose(1, 2)


def with_norm(block):
    model = tiny_model()
    model.encoder.encoders[1].norm_final = torch.nn.Sequential(
        model.encoder.encoders[1].norm_final, block
    )
    return model


def normalized(block):
    model = tiny_model()
    model.normalize = block
    return model


CASES = {
    "legacy": (lambda: tiny_model(encoder_conf=LEGACY), "encoders.0.self_attn (LegacyRel", "sees"),
    "global normalisation": (lambda: normalized(MeanOverBatch()), "normalize (MeanOver", "sees"),
    "encoder normalisation": (
        lambda: with_norm(MeanOverBatch()), "encoders.1.norm_final.1 (MeanOver", "sees",
    ),
    "pooling": (lambda: with_norm(Pooling()), "norm_final.1.pool (AvgPool1d)", "sees"),
    "VGG": (
        lambda: tiny_model(encoder="vgg_rnn", encoder_conf={"hidden_size": 16, "num_layers": 1}),
        "encoder.enc.0.conv1_2 (Conv2d)", "sees",
    ),
    "dropout": (lambda: with_norm(Random()), "norm_final.1 (Random)", "draws at random"),
    "gradient": (lambda: with_norm(LeakyGradient()), "only the gradients differ", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_part_that_sees_the_padding_is_named(case):
    make, part, what = CASES[case]
    model = make().eval()
    assert padding_error(model, RATE) > TOLERANCE
    cause = padding_cause(model, RATE)
    assert part in cause and what in cause
    if case != "legacy":
        assert "legacy" not in cause.lower()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
