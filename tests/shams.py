"""Countermeasures that only look robust."""

import torch
from tiny_countermeasure import trained


class Detached(torch.nn.Module):
    """A front end that lets no gradient through."""

    def forward(self, feats, lengths):
        return feats.detach(), lengths


class Quantised(torch.nn.Module):
    """A stair: its gradient is zero almost everywhere."""

    def forward(self, feats, lengths):
        return torch.round(feats / 0.05) * 0.05, lengths


class RandomGain(torch.nn.Module):
    """Another volume at each call."""

    def forward(self, feats, lengths):
        return feats * (1.0 + 0.3 * torch.randn(len(feats), 1, 1)), lengths


class ZeroGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, feats):
        return feats.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient)


class Zero(torch.nn.Module):
    """The right answers with a gradient of zero."""

    def forward(self, feats, lengths):
        return ZeroGradient.apply(feats), lengths


def saturated(net):
    """Logits so far apart that the cross-entropy has no slope left in single precision."""
    logits = net.loss.logits
    net.loss.logits = lambda embeddings: 1000.0 * logits(embeddings)
    return net


SHAMS = {
    "zero gradient": lambda: trained(defense=Zero()),
    "quantised input": lambda: trained(defense=Quantised()),
    "saturated logits": lambda: saturated(trained()),
    "detached front end": lambda: trained(defense=Detached()),
    "random gain": lambda: trained(defense=RandomGain()),
}
