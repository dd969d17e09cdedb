"""The residual blocks of AASIST and RawNet2."""

import torch
import torch.nn.functional as F

from espnet_ext.errors import InputError

BLOCKS = 6
LEAST_FRAMES = 3**BLOCKS
"""The number of frames that six residual blocks reduce to one."""


class ResidualBlock(torch.nn.Module):
    """Two convolutions over bands and frames, and max pooling over frames.

    Args:
        channels: channels of the input and of the output.
        first: whether the input is normalised already.
        height: bands that a convolution reads: 2, or 1 where the bands are channels (RawNet2).
        activation: activation before each convolution.
        shortcut_frames: frames that the convolution of the shortcut reads, where there is one.
        pool: frames that are pooled into one.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        first: bool = False,
        height: int = 2,
        activation: torch.nn.Module | None = None,
        shortcut_frames: int = 3,
        pool: int = 3,
    ):
        super().__init__()
        self.pool = pool
        (old, new), kernel = channels, (height, 3)
        activation = activation or torch.nn.SELU()
        self.before: torch.nn.Module = torch.nn.Identity()
        # The official code of AASIST makes this normalisation and reads the input without it; here
        # it is used, as in the paper.
        if not first:
            self.before = torch.nn.Sequential(torch.nn.BatchNorm2d(old), activation)
        self.convolutions = torch.nn.Sequential(
            # A kernel of even height cannot be centred: the first convolution adds a band and the
            # second takes it away again.
            torch.nn.Conv2d(old, new, kernel, padding=(height - 1, 1)),
            torch.nn.BatchNorm2d(new),
            activation,
            torch.nn.Conv2d(new, new, kernel, padding=(0, 1)),
        )
        self.shortcut: torch.nn.Module = torch.nn.Identity()
        if old != new:
            around = (0, shortcut_frames // 2)
            self.shortcut = torch.nn.Conv2d(old, new, (1, shortcut_frames), padding=around)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, F) to (B, C', D, F // pool)."""
        return F.max_pool2d(self.convolutions(self.before(x)) + self.shortcut(x), (1, self.pool))


def check_segment(num_frames: int | None, encoder: str, least: int = LEAST_FRAMES) -> None:
    """Refuse whole utterances, and segments that the blocks would reduce to nothing.

    Args:
        num_frames: frames of a segment; None for whole utterances.
        encoder: name of the encoder in a configuration, for the message.
        least: fewest frames that a segment may have.

    Raises:
        InputError: says what to give.
    """
    if num_frames is None or num_frames < least:
        # 21490 is of the waveform's features; a pretrained encoder has some 50 states a second.
        paper = " (paper: 21490, which are 4 s)" if least == LEAST_FRAMES else ""
        raise InputError(
            f"{encoder}: takes segments of at least {least} frames; give segment_conf num_frames"
            + paper
        )
