"""Layers over maps of frames in which the padding of a batch does not count."""

import torch

from espnet_ext.frontend.frames import is_inside


def frame_mask(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """Which frames of a map (B, C, F, D) belong to the utterances: (B, 1, F, 1), boolean.

    Example:
        >>> frame_mask(torch.tensor([1]), 2).flatten()
        tensor([ True, False])
    """
    return is_inside(lengths, frames).view(len(lengths), 1, frames, 1)


def silence_padding(maps: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Set the frames of `maps` (B, C, F, D) after each utterance's end to zero.

    A convolution then reads at the end of an utterance what it reads there when the utterance is
    alone: its own zero padding.

    Args:
        maps: (B, C, F, D).
        lengths: (B,) frames; None where all count.
    """
    if lengths is None:
        return maps
    # Not a product with the mask: nan or infinity in the padding would stay.
    return maps.masked_fill(~frame_mask(lengths, maps.size(2)), 0.0)


def mean_over_frames(maps: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Mean over the frames of each utterance, padding left out.

    Args:
        maps: (B, C, F, D).
        lengths: (B,) frames; None where all count.

    Returns:
        (B, C, D).
    """
    if lengths is None:
        return maps.mean(dim=2)
    total = silence_padding(maps, lengths).sum(dim=2)
    # Utterances shorter than an encoder asks for may have no frame left; their mean is zero.
    return total / lengths.clamp(min=1).to(maps.dtype).view(-1, 1, 1)


class MaskedBatchNorm2d(torch.nn.BatchNorm2d):
    """PyTorch's batch normalisation with statistics over the frames of the utterances only.

    Statistics over the padding as well would belong to maps that evaluation never sees.
    """

    def forward(self, input: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise the channels.

        Args:
            input: (B, C, F, D).
            lengths: (B,) frames; None where all count.

        Returns:
            (B, C, F, D).
        """
        # PyTorch types them as optional; this class always has them.
        assert self.running_mean is not None and self.running_var is not None
        if not self.training:
            # One multiplication and addition: PyTorch's own takes ten times as long for the
            # gradient on a CPU, a third of the time of an attack's step on an LCNN.
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            shift = self.bias - self.running_mean * scale
            return torch.addcmul(shift.view(1, -1, 1, 1), input, scale.view(1, -1, 1, 1))
        if lengths is None:
            return super().forward(input)
        mask = frame_mask(lengths, input.size(2)).to(input.dtype)
        count = mask.sum() * input.size(3)
        # In two passes: the mean of the squares less the square of the mean would cancel in single
        # precision where the mean is large, as it is for decibels.
        mean = (input * mask).sum(dim=(0, 2, 3), keepdim=True) / count
        variance = ((input - mean).square() * mask).sum(dim=(0, 2, 3), keepdim=True) / count
        with torch.no_grad():  # move the running statistics as PyTorch does
            unbiased = variance.flatten() * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean.flatten().to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight.view(1, -1, 1, 1) * (variance + self.eps).rsqrt()
        return (input - mean) * scale + self.bias.view(1, -1, 1, 1)
