"""A countermeasure as the PyTorch classifier that ART wants: one length, modes, labels."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F

from espnet_ext.precision import full_precision


class EqualLengths(torch.nn.Module):
    """Logits of one rectangular tensor, which is all that ART gives a model.

    Args:
        countermeasure: the model, whose mode ART sets.
        logits: of inputs and lengths.
        scale: what an input of 1 is.
    """

    scale: torch.Tensor

    def __init__(
        self,
        countermeasure: torch.nn.Module,
        logits: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        scale: torch.Tensor | float,
    ):
        super().__init__()
        self.countermeasure, self.logits = countermeasure, logits
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def train(self, mode: bool = True) -> "EqualLengths":
        """The mode that ART wishes, see `set_mode`."""
        self.training = mode
        set_mode(self.countermeasure, mode)
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) of scaled inputs."""
        if inputs.ndim == 4:
            inputs = inputs.squeeze(1)
        lengths = torch.full((len(inputs),), inputs.size(1), device=inputs.device)
        return self.logits(inputs * self.scale, lengths)


def one_hot(y: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """(N,) to (N, 2): class ids of exactly two classes ART takes for probabilities."""
    if y.ndim == 2:
        return y
    return F.one_hot(y.long(), 2) if isinstance(y, torch.Tensor) else np.eye(2)[y]


def set_mode(model: torch.nn.Module, train: bool) -> None:
    """Training or evaluation mode; the model's own flag, by which it draws crops, stays off."""
    model.train(train)
    model.training = False


@contextlib.contextmanager
def frozen(model: torch.nn.Module, train: bool = False) -> Iterator[torch.nn.Module]:
    """No parameter gradients and no TF32; everything is as before when the block ends.

    Gradients that parameters have already are neither used nor cleared.

    Args:
        model: a countermeasure.
        train: training mode, with the buffers (BatchNorm's statistics) brought back at the
            end; otherwise evaluation mode, which changes none.
    """
    training = {name: module.training for name, module in model.named_modules()}
    trainable = [(p, p.grad) for p in model.parameters() if p.requires_grad]
    buffers = [(b, b.clone()) for b in model.buffers()] if train else []
    try:
        set_mode(model.requires_grad_(False), train)
        with full_precision():
            yield model
    finally:
        for name, module in model.named_modules():
            module.training = training[name]
        for parameter, gradient in trainable:
            parameter.requires_grad_(True).grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
