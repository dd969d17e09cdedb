"""AASIST: graph attention over the spectrum and over time.

Jung et al. (2022), "AASIST: Audio anti-spoofing using integrated spectro-temporal graph attention
networks". With the front end `sinc` and an output layer of two classes it has the 297 866
parameters of the paper's model, and 85 306 with the sizes of AASIST-L. Written from the paper; in
the official code (clovaai/aasist) the first normalisation of a residual block is computed and not
used.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from espnet_ext.cm.residual import BLOCKS, ResidualBlock, check_segment
from espnet_ext.cm.segment import SegmentEncoder


class GraphAttention(torch.nn.Module):
    """Attention of every node to every other one, section 2.2.

    Args:
        size: dimensions of a node.
        output_size: dimensions of a node after the layer.
        temperature: divisor of the affinities before the softmax.
    """

    def __init__(self, size: int, output_size: int, temperature: float):
        super().__init__()
        self.temperature = temperature
        # The rates of dropout that no option names are those of the official code.
        self.drop = torch.nn.Dropout(0.2)
        self.affinity = torch.nn.Linear(size, output_size)
        self.weight = _vector(output_size)
        self.attended = torch.nn.Linear(size, output_size)
        self.own = torch.nn.Linear(size, output_size)
        self.norm = torch.nn.BatchNorm1d(output_size)

    def forward(self, nodes: torch.Tensor) -> torch.Tensor:
        """(B, N, E) to (B, N, E')."""
        nodes = self.drop(nodes)
        return self.attend(nodes, self.pairs(nodes) @ self.weight)

    def pairs(self, nodes: torch.Tensor) -> torch.Tensor:
        """What the two nodes of each pair have in common, (B, N, N, E')."""
        return torch.tanh(self.affinity(nodes.unsqueeze(2) * nodes.unsqueeze(1)))

    def attend(self, nodes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """New nodes (B, N, E') from nodes (B, N, E) and the scores (B, N, N, 1) of pairs."""
        # Over the neighbours of a node. Pairs are symmetric before this line, shares are not.
        shares = torch.softmax(scores.squeeze(-1) / self.temperature, dim=-1)
        found = self.attended(shares @ nodes) + self.own(nodes)
        # BatchNorm1d wants the dimensions of a node, not the nodes, in second place.
        return F.selu(self.norm(found.transpose(1, 2)).transpose(1, 2))


class HeterogeneousAttention(GraphAttention):
    """Attention among nodes of two kinds, and of a stack node to all of them, section 3.1.

    Args:
        size: dimensions of a node.
        output_size: dimensions of a node after the layer.
        temperature: see `GraphAttention`.
    """

    def __init__(self, size: int, output_size: int, temperature: float):
        super().__init__(size, output_size, temperature)
        self.kinds = torch.nn.ModuleList(torch.nn.Linear(size, size) for _ in range(2))
        self.weight_second = _vector(output_size)
        self.weight_across = _vector(output_size)
        self.stack_affinity = torch.nn.Linear(size, output_size)
        self.stack_weight = _vector(output_size)
        self.stack_attended = torch.nn.Linear(size, output_size)
        self.stack_own = torch.nn.Linear(size, output_size)

    def forward(  # type: ignore[override]
        self, first: torch.Tensor, second: torch.Tensor, stack: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute new nodes.

        Args:
            first: nodes of one kind, (B, N, E).
            second: nodes of the other kind, (B, M, E).
            stack: the stack node, (B, 1, E).

        Returns:
            the new nodes in the same order and shapes, with E' dimensions instead of E.
        """
        count = first.size(1)
        # Each kind gets a projection of its own into one space before the nodes are compared.
        both = torch.cat([k(n) for k, n in zip(self.kinds, (first, second), strict=True)], dim=1)
        nodes = self.drop(both)
        of_first = torch.arange(nodes.size(1), device=nodes.device) < count
        pairs = self.pairs(nodes)
        # The weights depend on the kinds of the two nodes.
        alike = of_first.unsqueeze(1) == of_first
        one = torch.where(of_first, self.weight, self.weight_second).t()  # (N + M, E')
        weights = torch.where(alike.unsqueeze(-1), one.unsqueeze(1), self.weight_across.t())
        scores = (pairs * weights).sum(dim=-1, keepdim=True)
        # The stack node reads the nodes as they come in, and no node reads it.
        looked = torch.tanh(self.stack_affinity(nodes * stack)) @ self.stack_weight
        shares = torch.softmax(looked / self.temperature, dim=1)
        stack = self.stack_attended(shares.transpose(1, 2) @ nodes) + self.stack_own(stack)
        found = self.attend(nodes, scores)
        return found[:, :count], found[:, count:], stack


class GraphPool(torch.nn.Module):
    """Keep the nodes with the highest scores, each multiplied by its score.

    Args:
        size: dimensions of a node.
        share: share of the nodes that is kept; at least one node is.
    """

    def __init__(self, size: int, share: float):
        super().__init__()
        self.share = share
        self.drop = torch.nn.Dropout(0.3)
        self.score = torch.nn.Linear(size, 1)

    def forward(self, nodes: torch.Tensor) -> torch.Tensor:
        """(B, N, E) to (B, K, E)."""
        scores = torch.sigmoid(self.score(self.drop(nodes)))
        # Rounded down, as in the official code: 0.5 of the 23 bands of `sinc` are 11.
        count = max(int(nodes.size(1) * self.share), 1)
        kept = scores.topk(count, dim=1).indices
        # The choice itself has no gradient; the scores learn because the kept nodes are multiplied
        # by them.
        return (nodes * scores).gather(1, kept.expand(-1, -1, nodes.size(2)))


class _Branch(torch.nn.Module):
    """Two heterogeneous layers with pooling between them, and a stack node of their own."""

    def __init__(self, size: int, output_size: int, temperature: Sequence[float], share: float):
        super().__init__()
        # The start of the stack node is learned, one for each branch.
        self.stack = torch.nn.Parameter(torch.randn(1, 1, size))
        self.first = HeterogeneousAttention(size, output_size, temperature[0])
        self.second = HeterogeneousAttention(output_size, output_size, temperature[1])
        self.pools = torch.nn.ModuleList(GraphPool(output_size, share) for _ in range(2))

    def forward(self, time: torch.Tensor, bands: torch.Tensor) -> list[torch.Tensor]:
        """Nodes of time and of bands, and the stack node."""
        time, bands, stack = self.first(time, bands, self.stack.expand(len(time), -1, -1))
        time, bands = self.pools[0](time), self.pools[1](bands)
        more = self.second(time, bands, stack)
        return [old + new for old, new in zip((time, bands, stack), more, strict=True)]


class AASIST(SegmentEncoder):
    """Residual blocks, a graph of the bands and one of the frames, and both together.

    For segments of a fixed length only. The embedding is the largest and the mean node of time
    and of bands, and the stack node.

    Args:
        input_size: bands D of a frame, those of the front end `sinc`.
        num_frames: frames of a segment.
        channels: channels of the first two residual blocks and of the others (AASIST: 32, 64;
            AASIST-L: 32, 24).
        graph_size: dimensions of a node in the graphs of bands and time together (32).
        shares: shares of the nodes that are kept in the graph of bands, of time, and of both
            (AASIST: 0.5, 0.7, 0.5; AASIST-L: 0.4, 0.5, 0.7).
        temperatures: temperature of the graphs of one kind, and of the graphs of both (2, 100).
        dropout_rate: dropout of the embedding (0.5).
        projection: dimensions to which the states of a pretrained encoder are projected (Tak et
            al. 2022, "Automatic speaker verification spoofing and deepfake detection using wav2vec
            2.0 and data augmentation": 128). Max pooling over three dimensions and three states
            follows, and the residual blocks keep all frames. None for the bands of `sinc`.

    Raises:
        InputError: see `check_segment`.

    Example:
        >>> AASIST(input_size=23, num_frames=729)(torch.zeros(2, 729, 23)).shape
        torch.Size([2, 160])
    """

    def __init__(
        self,
        input_size: int,
        num_frames: int | None = 21490,
        channels: Sequence[int] = (32, 64),
        graph_size: int = 32,
        shares: Sequence[float] = (0.5, 0.7, 0.5),
        temperatures: Sequence[float] = (2.0, 100.0),
        dropout_rate: float = 0.5,
        projection: int | None = None,
    ):
        super().__init__()
        self.project: torch.nn.Linear | None = None
        if projection is None:
            check_segment(num_frames, "aasist")
        else:
            check_segment(num_frames, "aasist", least=3)
            self.project = torch.nn.Linear(input_size, projection)
            # The pooling of `embed` is over bands as well as over frames.
            input_size = projection // 3
        few, many = channels
        sizes = [1, few, few, *[many] * (BLOCKS - 2)]
        self.norm = torch.nn.BatchNorm2d(1)
        self.blocks = torch.nn.Sequential(
            *(
                # A pretrained encoder has few frames, so the blocks behind `projection` keep all of
                # them.
                ResidualBlock((a, b), first=a == 1, pool=3 if projection is None else 1)
                for a, b in itertools.pairwise(sizes)
            )
        )
        # Only bands have positions, as in the official code.
        self.positions = torch.nn.Parameter(torch.randn(1, input_size, many))
        alone, together = temperatures
        self.bands = GraphAttention(many, many, alone)
        self.time = GraphAttention(many, many, alone)
        self.pool_bands, self.pool_time = GraphPool(many, shares[0]), GraphPool(many, shares[1])
        self.branches = torch.nn.ModuleList(
            _Branch(many, graph_size, (together, together), shares[2]) for _ in range(2)
        )
        self.drop_branch, self.drop = torch.nn.Dropout(0.2), torch.nn.Dropout(dropout_rate)
        # Largest and mean node of time, the same of bands, and the stack node.
        self._size = 5 * graph_size

    def output_size(self) -> int:
        """Size of the embedding."""
        return self._size

    def embed(self, feats: torch.Tensor) -> torch.Tensor:
        """(B, F, D), F at least `LEAST_FRAMES`, or 3 with `projection`, to (B, E)."""
        if self.project is not None:
            feats = F.max_pool2d(self.project(feats), 3)
        x = F.selu(self.norm(feats.transpose(1, 2).unsqueeze(1)))
        # The paper takes the largest magnitude over the frames, or over the bands, for a node.
        x = self.blocks(x).abs()  # (B, C, D, F')
        bands = x.amax(dim=3).transpose(1, 2) + self.positions
        bands = self.pool_bands(self.bands(bands))
        time = self.pool_time(self.time(x.amax(dim=2).transpose(1, 2)))
        branches = [[self.drop_branch(n) for n in b(time, bands)] for b in self.branches]
        # The branches compete: the larger value of each dimension is kept.
        time, bands, stack = (torch.maximum(*both) for both in zip(*branches, strict=True))
        read = [n for nodes in (time, bands) for n in (nodes.abs().amax(1), nodes.mean(1))]
        return self.drop(torch.cat([*read, stack.squeeze(1)], dim=1))


def _vector(size: int) -> torch.nn.Parameter:
    """A weight (size, 1) with the initial values of Glorot and Bengio (2010)."""
    return torch.nn.Parameter(torch.nn.init.xavier_normal_(torch.empty(size, 1)))
