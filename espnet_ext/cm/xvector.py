"""Time-delay network whose channels are the dimensions of a frame.

LCNN and SENet look for patterns of neighbouring bins, and the dimensions of a learned
representation have no neighbours. Snyder et al. (2018), "X-vectors: Robust DNN embeddings for
speaker recognition"; the layers and the pooling are ESPnet's.
"""

import torch
from espnet2.spk.encoder.xvector_encoder import XvectorEncoder
from espnet2.spk.pooling.stat_pooling import StatsPooling

from espnet_ext.cm.segment import SegmentEncoder
from espnet_ext.errors import InputError


class XVector(SegmentEncoder):
    """Convolutions over time, mean and standard deviation over the segment, a linear layer.

    For segments of a fixed length only: ESPnet's layers would read the padding of whole utterances.

    Args:
        input_size: dimensions D of a frame.
        num_frames: frames of a segment; the network does not depend on it.
        channels: channels of the convolutions (paper: 512).
        pooled: channels whose mean and deviation are taken (paper: 1500).
        embedding: size of the embedding (paper: 512).
        dropout_rate: dropout of mean and deviation (paper: none).

    Raises:
        InputError: whole utterances are asked for, or a size is not positive.

    Example:
        >>> XVector(input_size=256, num_frames=80)(torch.zeros(2, 80, 256)).shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        input_size: int,
        num_frames: int | None = 600,
        channels: int = 128,
        pooled: int = 256,
        embedding: int = 64,
        dropout_rate: float = 0.0,
    ):
        super().__init__()
        if num_frames is None:
            raise InputError("xvector: takes segments only; give segment_conf num_frames")
        if min(channels, pooled, embedding) < 1:
            raise InputError("xvector: channels, pooled and embedding must be at least 1")
        # ESPnet's encoder takes no lengths, which is why whole utterances are refused above.
        self.frames = XvectorEncoder(input_size, ndim=channels, output_size=pooled)
        self.pool = StatsPooling(pooled)
        self.head = torch.nn.Sequential(
            torch.nn.Dropout(dropout_rate),
            torch.nn.Linear(2 * pooled, embedding),
            torch.nn.BatchNorm1d(embedding),
        )

    def output_size(self) -> int:
        """Size of the embedding."""
        return self.head[-1].num_features

    def embed(self, feats: torch.Tensor) -> torch.Tensor:
        """(B, F, D), F at least 9, to (B, E)."""
        return self.head(self.pool(self.frames(feats)))
