"""RawNet2 as a countermeasure: residual blocks over the samples, and a recurrent layer.

Tak et al. (2021), "End-to-end anti-spoofing with RawNet2". With 128 filters of the front end `sinc`
and an output layer of two classes it has the 25 433 602 parameters of the paper's configuration
(`train_RawNet.yaml` of the authors' code), and 17 621 410 with 20 filters and the channels 20 and
128 of the ASVspoof 2021 baseline. Written from the paper.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from espnet_ext.cm.residual import BLOCKS, ResidualBlock, check_segment
from espnet_ext.cm.segment import SegmentEncoder


class FeatureMapScaling(torch.nn.Module):
    """Scale each channel and shift it by a gate that is computed from the means of all channels.

    Args:
        channels: channels of input and output.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.gate = torch.nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, 1, F) to (B, C, 1, F)."""
        scale = torch.sigmoid(self.gate(x.mean(dim=(2, 3))))[:, :, None, None]
        # One gate both scales and is added, as in the authors' code.
        return x * scale + scale


class RawNet2(SegmentEncoder):
    """Residual blocks with feature map scaling, a GRU, and a linear layer on its last state.

    For segments of a fixed length only. The bands of the front end are channels; it takes the
    magnitudes of `sinc` with `pool_bands: 1`.

    Args:
        input_size: bands D of a frame.
        num_frames: frames of a segment.
        channels: channels of the first two residual blocks and of the other four (paper: 128, 512;
            ASVspoof 2021: 20, 128).
        gru_size: dimensions of a state (1024).
        gru_layers: number of recurrent layers (3).
        embedding: size of the embedding (1024).

    Raises:
        InputError: see `check_segment`.

    Example:
        >>> model = RawNet2(20, 729, channels=(20, 128), gru_size=64, embedding=32)
        >>> model(torch.zeros(2, 729, 20)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        input_size: int,
        num_frames: int | None = 21490,
        channels: Sequence[int] = (128, 512),
        gru_size: int = 1024,
        gru_layers: int = 3,
        embedding: int = 1024,
    ):
        super().__init__()
        check_segment(num_frames, "rawnet2")
        few, many = channels
        sizes = [input_size, few, few, *[many] * (BLOCKS - 2)]
        self.norm = torch.nn.BatchNorm2d(input_size)
        layers: list[torch.nn.Module] = []
        for number, (old, new) in enumerate(itertools.pairwise(sizes)):
            # As in the authors' code: SELU before and after the blocks, leaky ReLU inside.
            activation = torch.nn.LeakyReLU(0.3)
            layers += [
                # Their shortcut reads one frame, that of AASIST three.
                ResidualBlock((old, new), number == 0, 1, activation, shortcut_frames=1),
                FeatureMapScaling(new),
            ]
        self.blocks = torch.nn.Sequential(*layers)
        self.norm_states = torch.nn.BatchNorm2d(many)
        self.gru = torch.nn.GRU(many, gru_size, gru_layers, batch_first=True)
        self.last = torch.nn.Linear(gru_size, embedding)

    def output_size(self) -> int:
        """Size of the embedding."""
        return self.last.out_features

    def embed(self, feats: torch.Tensor) -> torch.Tensor:
        """(B, F, D), F at least `LEAST_FRAMES`, to (B, E)."""
        x = F.selu(self.norm(feats.transpose(1, 2).unsqueeze(2)))
        x = F.selu(self.norm_states(self.blocks(x)))  # (B, C, 1, F')
        # One direction only, so the last state is the one that has seen the whole segment.
        states, _ = self.gru(x.squeeze(2).transpose(1, 2))
        return self.last(states[:, -1])
