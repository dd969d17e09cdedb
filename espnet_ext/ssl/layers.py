"""Which layers of a pretrained encoder another model takes, and whether it may change them."""

from collections.abc import Sequence

import torch

from espnet_ext.errors import InputError


class LayeredUpstream(torch.nn.Module):
    """A pretrained encoder of which one layer is taken, or a learned weighted mean of all.

    Args:
        encoder: with `layers`, a list of modules.
        layer: "last", the number of a layer (0 is the embedding), or "weighted" (Liu et al. 2020,
            section 2.4).
        frozen: whether the encoder is not trained and its dropout is off. Gradients still reach
            its input.

    Raises:
        InputError: there is no such layer.
    """

    def __init__(self, encoder: torch.nn.Module, layer: str | int, frozen: bool):
        super().__init__()
        self.encoder = encoder
        layers: torch.nn.ModuleList = encoder.layers
        self.depth = len(layers)
        self.weights: torch.nn.Parameter | None = None
        if layer == "weighted":
            # Zeros are equal weights after the softmax of `chosen`. The embedding has one, too.
            self.weights = torch.nn.Parameter(torch.zeros(self.depth + 1))
        elif layer != "last":
            if not isinstance(layer, int) or not 0 <= layer <= self.depth:
                raise InputError(f"layer must be last, weighted, or 0 to {self.depth}, not {layer}")
            self.depth = layer
        self.frozen = frozen
        encoder.requires_grad_(not frozen)
        # They are not computed: no gradient will come.
        layers[self.depth :].requires_grad_(False)

    def train(self, mode: bool = True) -> "LayeredUpstream":
        """As PyTorch's; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        # Dropout would make the features of a frozen encoder random in training.
        if self.frozen:
            self.encoder.eval()
        return self

    def chosen(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """The states that are taken.

        Args:
            states: states of the embedding and of each layer up to `depth`, each (B, S, H).

        Returns:
            (B, S, H).
        """
        if self.weights is None:
            return states[-1]
        return torch.einsum("k,kbsh->bsh", self.weights.softmax(dim=0), torch.stack([*states]))
