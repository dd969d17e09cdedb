"""Residual network with squeeze-and-excitation blocks.

Hu et al. (2018), "Squeeze-and-excitation networks"; as a countermeasure Lai et al. (2019),
"ASSERT", in the version that Liu et al. (2019) attack and Wu et al. (2020) defend.
"""

from collections.abc import Sequence

import torch

from espnet_ext.cm.convolution import SingleChannelConv2d
from espnet_ext.cm.padding import MaskedBatchNorm2d, mean_over_frames, silence_padding
from espnet_ext.errors import InputError

SENET12 = (1, 2, 3, 1)
"""Blocks in each stage: 478,546 parameters with a linear layer to two classes."""
SENET34 = (3, 4, 6, 3)
"""The same with 1,343,762 parameters."""


class SqueezeExcitation(torch.nn.Module):
    """Multiply each channel by a weight that is computed from the means of all channels.

    Args:
        channels: channels of input and output.
        reduction: factor by which the bottleneck is narrower.
    """

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.gate = torch.nn.Sequential(
            torch.nn.Linear(channels, channels // reduction, bias=False),
            torch.nn.ReLU(),
            torch.nn.Linear(channels // reduction, channels, bias=False),
            torch.nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """(B, C, F, D) to (B, C, F, D); frames beyond `lengths` (B,) are ignored."""
        # First over the frames of each utterance: the padding must not change the weights.
        weights = self.gate(mean_over_frames(x, lengths).mean(dim=2))
        return x * weights[:, :, None, None]


class SEBlock(torch.nn.Module):
    """Two 3x3 convolutions and squeeze-and-excitation beside a shortcut.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution, in time and frequency.
        reduction: see `SqueezeExcitation`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, reduction: int):
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, 3, stride)
        self.norm1 = MaskedBatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels, 3, 1)
        self.norm2 = MaskedBatchNorm2d(out_channels)
        self.excite = SqueezeExcitation(out_channels, reduction)
        self.shortcut = None
        if stride != 1 or in_channels != out_channels:
            # Of every second value, not a convolution with stride: the backward pass of oneDNN
            # writes past its memory there, with few channels (PyTorch 2.12 on a CPU).
            self.shortcut = _conv(in_channels, out_channels, 1, 1)
            self.stride = stride
            self.shortcut_norm = MaskedBatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """(B, C, F, D) to (B, C', F', D').

        Args:
            x: maps that are zero after the end of each utterance.
            lengths: (B,) frames of the output; None where all count.
        """
        # A normalisation moves the zeros of the padding, which the next convolution would read.
        y = silence_padding(torch.relu(self.norm1(self.conv1(x), lengths)), lengths)
        y = self.excite(self.norm2(self.conv2(y), lengths), lengths)
        if self.shortcut is not None:
            x = self.shortcut(x[:, :, :: self.stride, :: self.stride])
            x = self.shortcut_norm(x, lengths)
        return silence_padding(torch.relu(y + x), lengths)


class SENet(torch.nn.Module):
    """SE-ResNet over a spectrogram, to an embedding of the size of its last stage.

    Takes any number of frames and bins. Utterances in a padded batch get in evaluation the
    embedding that they get alone, up to rounding: the padding is set to zero before every
    convolution and left out of every mean. In training, the statistics of batch normalisation leave
    it out as well.

    Args:
        input_size: bins D of a frame; the network does not depend on it.
        num_frames: ignored; the network takes any number of frames.
        layers: blocks in each stage, `SENET12` or `SENET34` or your own; every stage but the
            first halves the map.
        channels: channels of each stage.
        reduction: see `SqueezeExcitation`.

    Raises:
        InputError: as many `layers` as `channels` are needed, and channels that can be reduced.

    Example:
        >>> SENet(input_size=80)(torch.zeros(2, 100, 80)).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        input_size: int,
        num_frames: int | None = None,
        layers: Sequence[int] = SENET12,
        channels: Sequence[int] = (16, 32, 64, 128),
        reduction: int = 16,
    ):
        super().__init__()
        if len(layers) != len(channels) or not layers or min(layers) < 1:
            raise InputError(
                f"SENet: layers {list(layers)} and channels {list(channels)} must be as many "
                "positive numbers, one a stage"
            )
        if reduction < 1 or min(channels) < reduction:
            raise InputError(
                f"SENet: channels {list(channels)} cannot be reduced by {reduction}; every stage "
                "needs at least that many"
            )
        self.stem = SingleChannelConv2d(channels[0], kernel_size=7, stride=2, padding=3, bias=False)
        self.stem_norm = MaskedBatchNorm2d(channels[0])
        self.pool = torch.nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = torch.nn.ModuleList()
        previous = channels[0]
        for number, (blocks, width) in enumerate(zip(layers, channels, strict=True)):
            # The stem has halved the map twice already.
            first = SEBlock(previous, width, 1 if number == 0 else 2, reduction)
            rest = [SEBlock(width, width, 1, reduction) for _ in range(blocks - 1)]
            self.stages.append(torch.nn.ModuleList([first, *rest]))
            previous = width
        self.embedding_size = previous
        for module in self.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # A fifth faster on a CPU; the input's single channel takes on the layout of the weights.
        self.to(memory_format=torch.channels_last)

    def output_size(self) -> int:
        """Size of the embedding."""
        return self.embedding_size

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Embed a batch.

        Args:
            feats: (B, F, D).
            lengths: (B,) frames that count; None for all.

        Returns:
            (B, E).
        """
        x = self.stem(silence_padding(feats.unsqueeze(1), lengths))
        lengths = _halved(lengths)
        x = torch.relu(self.stem_norm(x, lengths))
        # Behind a ReLU the zeros of the padding never win over a frame of the utterance.
        x = self.pool(silence_padding(x, lengths))
        lengths = _halved(lengths)
        x = silence_padding(x, lengths)
        for number, stage in enumerate(self.stages):
            # Before the stage, because its blocks take the lengths of their output.
            lengths = lengths if number == 0 else _halved(lengths)
            for block in stage:
                x = block(x, lengths)
        # The mean over time and frequency makes the embedding independent of the number of bins.
        return mean_over_frames(x, lengths).mean(dim=2)


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )


def _halved(lengths: torch.Tensor | None) -> torch.Tensor | None:
    """Frames after a layer of stride 2 that is padded by half its kernel."""
    return None if lengths is None else torch.div(lengths + 1, 2, rounding_mode="floor")
