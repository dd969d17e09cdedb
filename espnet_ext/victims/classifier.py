"""A countermeasure as the PyTorch module that ART wants: one length, modes, labels."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from espnet_ext.precision import set_mode


class EqualLengths(torch.nn.Module):
    """Logits of one rectangular tensor, which is all that ART gives a model.

    Args:
        countermeasure: the model, whose mode ART sets.
        logits: function from inputs and lengths to logits.
        scale: factor from ART's inputs to those of the model.
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
        # A buffer, so that it moves to the device with the model.
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def train(self, mode: bool = True) -> "EqualLengths":
        """Set the mode that ART asks for, see `set_mode`."""
        self.training = mode
        set_mode(self.countermeasure, mode)
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2) of scaled inputs."""
        # ART's square attack needs a channel in front of frames and dimensions; the model has none.
        if inputs.ndim == 4:
            inputs = inputs.squeeze(1)
        lengths = torch.full((len(inputs),), inputs.size(1), device=inputs.device)
        return self.logits(inputs * self.scale, lengths)


def one_hot(y: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """(N,) to (N, 2), because ART takes the ids of exactly two classes for probabilities."""
    # Already one-hot, as ART's own attacks pass labels on.
    if y.ndim == 2:
        return y
    return F.one_hot(y.long(), 2) if isinstance(y, torch.Tensor) else np.eye(2)[y]
