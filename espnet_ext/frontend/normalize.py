"""Normalisation of features."""

import torch
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.layers.global_mvn import GlobalMVN

from espnet_ext.frontend.frames import Padded, is_inside, zero_padding


class UtteranceNormalize(AbsNormalize):
    """Mean and variance of each dimension over the frames of each utterance.

    Unlike ESPnet's `UtteranceMVN` it leaves its input as it was and its gradient is finite in
    silence. Mockingjay takes `mean: true, variance: true` (`utility/audio.py` of the
    official code, population variance).

    Args:
        mean: whether to subtract the mean.
        variance: whether to divide by the standard deviation.
        eps: added to the variance before the root. Features of speech vary by 0.1 and more;
            1e-8 (a deviation of 1e-4) keeps rounding errors in digital silence small.

    Example:
        >>> normalize = UtteranceNormalize(variance=True)
        >>> feats, _ = normalize(torch.randn(1, 100, 8), torch.tensor([100]))
        >>> bool(feats.std(dim=1, correction=0).allclose(torch.ones(8)))
        True
    """

    def __init__(self, mean: bool = True, variance: bool = False, eps: float = 1e-8):
        super().__init__()
        self.mean = mean
        self.variance = variance
        self.eps = eps

    def extra_repr(self) -> str:
        """What ESPnet prints of the model."""
        return f"mean={self.mean}, variance={self.variance}, eps={self.eps}"

    def forward(self, input: torch.Tensor, input_lengths: torch.Tensor | None = None) -> Padded:
        """Normalised features; the padding becomes zero.

        Args:
            input: (B, F, D).
            input_lengths: (B,); all frames where None.

        Returns:
            (B, F, D) and the lengths (B,).
        """
        lengths = _all_frames(input) if input_lengths is None else input_lengths
        # Products and new tensors only: ESPnet's class fills, subtracts and divides in place.
        inside = is_inside(lengths.to(input.device), input.size(1)).unsqueeze(-1)
        count = inside.sum(dim=1, keepdim=True).clamp(min=1)
        mean = (input * inside).sum(dim=1, keepdim=True) / count
        centred = (input - mean) * inside
        output = centred if self.mean else input * inside
        if self.variance:
            variance = centred.square().sum(dim=1, keepdim=True) / count
            # Under the root: its slope at zero is infinite, and a clamp after it would not help.
            output = output / (variance + self.eps).sqrt()
        return output, lengths


class GlobalNormalize(GlobalMVN):
    """ESPnet's `GlobalMVN` (statistics of the training set), input left as it was.

    Args:
        stats_file: `feats_stats.npz` of the statistics stage.
        norm_means: whether to subtract the mean.
        norm_vars: whether to divide by the standard deviation.
        eps: least variance.
    """

    def forward(self, x: torch.Tensor, ilens: torch.Tensor | None = None) -> Padded:
        """Normalised features (B, F, D) and their lengths (B,)."""
        lengths = _all_frames(x) if ilens is None else ilens
        # ESPnet's class subtracts and divides in place: the caller's features would be changed, and
        # in an attack those are the variable that is optimised.
        return super().forward(x.clone(), lengths)


class FixedNormalize(AbsNormalize):
    """(x - shift) / scale with two given numbers, e.g. to bring decibels near 1.

    Args:
        shift: number that is subtracted.
        scale: divisor, also of the epsilon of an attack that is given in the unit of the features.
    """

    def __init__(self, shift: float = 0.0, scale: float = 1.0):
        super().__init__()
        self.shift = shift
        self.scale = scale

    def forward(self, input: torch.Tensor, input_lengths: torch.Tensor | None = None) -> Padded:
        """Scaled features (B, F, D), zero in the padding, and their lengths (B,)."""
        lengths = _all_frames(input) if input_lengths is None else input_lengths
        return zero_padding((input - self.shift) / self.scale, lengths), lengths


def _all_frames(feats: torch.Tensor) -> torch.Tensor:
    return torch.full((feats.size(0),), feats.size(1), device=feats.device)
