"""Utterance classification heads on an encoder's output."""

import torch

from espnet_ext.frontend.frames import zero_padding

IGNORED = -1
"""Label id of an utterance without a known label, which is left out of loss and accuracy."""


def masked_mean(frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Mean over the frames of each utterance, padding left out.

    Args:
        frames: (B, T, D).
        lengths: (B,), frames that belong to each utterance.

    Returns:
        (B, D).

    Example:
        >>> x = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> masked_mean(x, torch.tensor([2]))
        tensor([[2.]])
    """
    total = zero_padding(frames, lengths).sum(dim=1)
    # An utterance without a frame has mean 0 and not NaN.
    return total / lengths.to(frames.device, frames.dtype).clamp(min=1).unsqueeze(-1)


class UtteranceClassifier(torch.nn.Module):
    """Feed-forward classifier of the mean encoder output (Das and Chau 2022, section 4.2).

    The paper passes the mean sequence embedding through five fully connected
    layers and gives no width and no activation; 256 units, ReLU and dropout
    between the layers are this project's choice.

    Args:
        input_size: encoder output size D.
        labels: names of the classes, in the order of the outputs.
        hidden_size: units of every layer but the last.
        num_layers: fully connected layers, the output layer included.
        dropout_rate: dropout after each hidden layer.
    """

    def __init__(
        self,
        input_size: int,
        labels: list[str],
        hidden_size: int = 256,
        num_layers: int = 5,
        dropout_rate: float = 0.1,
    ):
        super().__init__()
        self.labels = list(labels)
        layers: list[torch.nn.Module] = []
        size = input_size
        for _ in range(num_layers - 1):
            layers += [
                torch.nn.Linear(size, hidden_size),
                torch.nn.ReLU(),
                torch.nn.Dropout(dropout_rate),
            ]
            size = hidden_size
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(size, len(labels)))
        self.apply(initialize_for_relu)

    def forward(self, encoder_out: torch.Tensor, encoder_out_lens: torch.Tensor) -> torch.Tensor:
        """Class scores before the softmax.

        Args:
            encoder_out: (B, T, D).
            encoder_out_lens: (B,).

        Returns:
            (B, number of labels).
        """
        return self.layers(masked_mean(encoder_out, encoder_out_lens))


def initialize_for_relu(module: torch.nn.Module) -> None:
    """Weights of He et al. (2015), biases zero."""
    # Under PyTorch's default the signal fades over five ReLU layers, and the head stays at chance
    # for the first thousand steps.
    if isinstance(module, torch.nn.Linear):
        torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        torch.nn.init.zeros_(module.bias)


def classification_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, averaged over the utterances whose label is known; 0 where none is.

    Args:
        logits: (B, C).
        labels: (B,), `IGNORED` for a missing label.
    """
    # Not reduction="mean", which is NaN for a batch without a known label.
    total = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)
