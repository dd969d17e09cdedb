"""Light CNN: convolutions whose activation is the larger of two halves of the channels.

Wu et al. (2018), "A Light CNN for deep face representation with noisy labels"; as a countermeasure
Lavrentyeva et al. (2019), in the version that Liu et al. (2019) attack and Wu et al. (2020) defend.
"""

from collections.abc import Sequence

import torch
from torch.autograd.function import FunctionCtx

from espnet_ext.cm.convolution import SingleChannelConv2d
from espnet_ext.cm.padding import MaskedBatchNorm2d, mean_over_frames, silence_padding
from espnet_ext.errors import InputError

BIG = (32, 48, 64, 32, 32, 80)
"""Channels of the five convolutional stages and size of the embedding: the large model."""
SMALL = (8, 12, 12, 4, 4, 32)
"""The same of the small model."""

GROUP_NORMS = ("idle", "active", "every", "none")
HALVINGS = 4
"""Max poolings by two between the input and the last map."""


class _LargerHalf(torch.autograd.Function):
    """Maximum of two halves; among equals the first has the gradient.

    PyTorch's own maximum divides the gradient among equals, which takes half of the time of an
    LCNN's backward pass.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        """(B, 2 C, F, D) to (B, C, F, D)."""
        first, second = x.chunk(2, dim=1)
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient goes to the larger of the two."""
        (is_first,) = ctx.saved_tensors
        # A subtraction gives the other half exactly, and spares a second mask.
        kept = gradient * is_first
        return torch.cat([kept, gradient - kept], dim=1)


class MaxFeatureMap(torch.nn.Module):
    """Elementwise maximum of the two halves of the channels (dimension 1)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Halve the channels: (B, 2C, ...) to (B, C, ...)."""
        return _LargerHalf.apply(x)


class MFMConv(torch.nn.Module):
    """Convolution to twice the channels, and their maximum; the map keeps its size.

    Args:
        in_channels: channels of the input.
        out_channels: channels after the maximum.
        kernel_size: side of the square kernel, odd.
        norm: whether batch normalisation follows.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, norm: bool = False):
        super().__init__()
        options = {"kernel_size": kernel_size, "padding": kernel_size // 2}
        if in_channels == 1:
            self.conv: torch.nn.Conv2d = SingleChannelConv2d(2 * out_channels, **options)
        else:
            self.conv = torch.nn.Conv2d(in_channels, 2 * out_channels, **options)
        self.mfm = MaxFeatureMap()
        self.norm = MaskedBatchNorm2d(out_channels) if norm else None

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """(B, C, F, D) to (B, C', F, D); `lengths` (B,) or None where all frames count."""
        # A 1x1 convolution reads no neighbours, so no padding can reach a frame through it.
        if self.conv.kernel_size[0] > 1:
            x = silence_padding(x, lengths)
        x = self.mfm(self.conv(x))
        return x if self.norm is None else self.norm(x, lengths)


class Group(torch.nn.Module):
    """1x1 convolution that keeps the channels, and a 3x3 convolution that changes them.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        group_norm: see `LCNN`.
    """

    def __init__(self, in_channels: int, out_channels: int, group_norm: str):
        super().__init__()
        every = group_norm == "every"
        self.mix = MFMConv(in_channels, in_channels, 1, norm=every or group_norm == "active")
        self.conv = MFMConv(in_channels, out_channels, 3, norm=every)
        if group_norm == "idle":
            # Counted as the original counts, never called; without gradients, so that
            # distributed training does not wait for them.
            self.idle_norm = torch.nn.BatchNorm2d(in_channels).requires_grad_(False)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        """(B, C, F, D) to (B, C', F, D)."""
        return self.conv(self.mix(x, lengths), lengths)


class LCNN(torch.nn.Module):
    """Light CNN over a spectrogram, to an embedding.

    The layers are those of the code of Liu et al. (2019): MFM convolution 5x5, max pooling, four
    groups with max pooling after the first, second and fourth and batch normalisation after the
    first and third, then a linear layer to twice the embedding, dropout, MFM, batch normalisation.
    With `BIG`, 600 frames of 863 bins and an A-softmax layer it has their 10,198,816 parameters,
    with `SMALL` their 509,072.

    Whole utterances in a padded batch (`pooling` "mean") get in evaluation the embedding that they
    get alone, up to rounding: the padding is set to zero before every convolution and left out of
    every mean. In training, the statistics of batch normalisation leave it out as well.

    Args:
        input_size: bins D of a frame, at least 16.
        num_frames: frames of a segment; needed for `pooling` "flatten" only.
        channels: channels of the five stages, and the size of the embedding: `BIG`, `SMALL`, or
            your own.
        dropout_rate: between the linear layer and its maximum (original: 0.75).
        group_norm: batch normalisation in the groups. "idle": made but never called, as in the
            original code, whose parameter counts include it; "active": called between the two
            convolutions, as in Lavrentyeva et al. (2019); "every": after every convolution;
            "none".
        pooling: "flatten" the last map into a vector, as the original, or "mean" over its frames,
            for whole utterances.

    Raises:
        InputError: an option is not one of these, or the input is too small to be halved.

    Example:
        >>> encoder = LCNN(input_size=160, num_frames=240, channels=SMALL)
        >>> encoder(torch.zeros(2, 240, 160)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        input_size: int,
        num_frames: int | None = 600,
        channels: Sequence[int] = BIG,
        dropout_rate: float = 0.75,
        group_norm: str = "idle",
        pooling: str = "flatten",
    ):
        super().__init__()
        check_sizes_of_maps(input_size, num_frames, channels, group_norm, pooling)
        self.num_frames = num_frames if pooling == "flatten" else None
        first, second, third, fourth, fifth, embedding = channels
        self.stem = MFMConv(1, first, 5, norm=group_norm == "every")
        self.group1 = Group(first, second, group_norm)
        self.norm1 = MaskedBatchNorm2d(second)
        self.group2 = Group(second, third, group_norm)
        self.group3 = Group(third, fourth, group_norm)
        self.norm3 = MaskedBatchNorm2d(fourth)
        self.group4 = Group(fourth, fifth, group_norm)
        # Without padding and rounded down; `_halve` counts the frames in the same way.
        self.pool = torch.nn.MaxPool2d(2)
        # Values of one bin of the last map: its frames too, unless their mean is taken.
        last = fifth * (1 if self.num_frames is None else self.num_frames >> HALVINGS)
        self.head = torch.nn.Sequential(
            torch.nn.Linear(last * (input_size >> HALVINGS), 2 * embedding),
            torch.nn.Dropout(dropout_rate),
            MaxFeatureMap(),
            torch.nn.BatchNorm1d(embedding),
        )
        self.apply(start_as_original)
        # A fifth faster on a CPU; the input's single channel takes on the layout of the weights.
        self.to(memory_format=torch.channels_last)

    def output_size(self) -> int:
        """Size of the embedding."""
        return self.head[-1].num_features

    def forward(self, feats: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Embed a batch.

        Args:
            feats: (B, F, D); F is `num_frames` where the map is flattened.
            lengths: (B,) frames that count, at least 16; None for all.

        Returns:
            (B, E).

        Raises:
            ValueError: the number of frames is not the one the model is made for.
        """
        if self.num_frames is None:
            maps = mean_over_frames(*self._maps(feats.unsqueeze(1), lengths))
            return self.head(maps.flatten(1))
        if feats.size(1) != self.num_frames:
            raise ValueError(f"made for {self.num_frames} frames, not for {feats.size(1)}")
        # A segment has no padding: it is cut or repeated to its length.
        return self.head(self._maps(feats.unsqueeze(1), None)[0].flatten(1))

    def _maps(
        self, x: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The last map (B, C, F // 16, D // 16) of (B, 1, F, D), and its lengths."""
        x, lengths = self._halve(self.stem(x, lengths), lengths)
        x, lengths = self._halve(self.group1(x, lengths), lengths)
        # Normalised after the pooling, as in the original; before group 4 there is no pooling.
        x, lengths = self._halve(self.group2(self.norm1(x, lengths), lengths), lengths)
        x = self.norm3(self.group3(x, lengths), lengths)
        return self._halve(self.group4(x, lengths), lengths)

    def _halve(
        self, x: torch.Tensor, lengths: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        # An odd last frame is left out, alone as in a batch.
        shorter = None if lengths is None else torch.div(lengths, 2, rounding_mode="floor")
        return self.pool(x), shorter


def check_sizes_of_maps(
    input_size: int, num_frames: int | None, channels: Sequence[int], group_norm: str, pooling: str
) -> None:
    """Refuse options of an LCNN.

    Raises:
        InputError: see `LCNN`.
    """
    if group_norm not in GROUP_NORMS:
        raise InputError(f"LCNN: group_norm must be one of {GROUP_NORMS}, not '{group_norm}'")
    if pooling not in ("flatten", "mean"):
        raise InputError(f"LCNN: pooling must be flatten or mean, not '{pooling}'")
    if len(channels) != 6 or min(channels) < 1:
        raise InputError(
            f"LCNN: channels must be six positive numbers, five stages and the embedding; "
            f"got {list(channels)}"
        )
    if pooling == "flatten" and num_frames is None:
        raise InputError("LCNN: whole utterances need pooling: mean; flatten needs num_frames")
    # Below it, the poolings leave a map without values, and PyTorch's message would name no option.
    least = 1 << HALVINGS
    if input_size < least or (num_frames is not None and num_frames < least):
        raise InputError(
            f"LCNN: an input of {num_frames} frames x {input_size} bins cannot be halved "
            f"{HALVINGS} times; give at least {least} of each"
        )


def start_as_original(module: torch.nn.Module) -> None:
    """As Liu et al. (2019): He for convolutions, Glorot for linear layers."""
    if isinstance(module, torch.nn.Conv2d):
        torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        torch.nn.init.zeros_(module.bias)
    elif isinstance(module, torch.nn.Linear):
        torch.nn.init.xavier_normal_(module.weight)
        torch.nn.init.zeros_(module.bias)
