"""The Transformer encoder of Mockingjay."""

import torch
from torch.nn import functional as F

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import is_inside

# As BERT and the original code have them; PyTorch's default for the first is 1e-5.
LAYER_NORM_EPS = 1e-12
INITIAL_DEVIATION = 0.02
ATTENTION_STARTS = ("normal", "tied")


class MockingjayEncoder(torch.nn.Module):
    """Post-LN Transformer over stacked frames (Liu et al. 2020, section 2.1, Table 1).

    Frames are stacked `downsample` at a time (R_factor), projected, given sinusoidal
    positions, normalised; then layers of self-attention and feed-forward as in BERT, GELU
    in its exact form. LARGE is the default: 85,425,408 parameters. BASE, 21,388,800: `num_layers:
    3, downsample: 1`.

    Args:
        input_size: dimensions of a frame.
        hidden_size: H, dimensions of a state.
        num_layers: Transformer layers.
        num_heads: attention heads; divides `hidden_size`.
        ff_size: inner size of the feed-forward part.
        downsample: R, frames of a step.
        dropout: after the embedding and after both parts of each layer.
        attention_dropout: dropout of the attention weights.
        attention_start: initial weights of queries and keys. "normal": as all others, N(0, 0.02)
            (the original). "tied": equal ones from N(0, 1 / H); steps at like positions then
            attend to each other from the first update on, and a masked step, which knows
            nothing but its position, need not first learn where its neighbours are.

    Raises:
        InputError: `hidden_size` is no multiple of `num_heads`, a size below 1, or an unknown
            `attention_start`.

    Example:
        >>> encoder = MockingjayEncoder(160, hidden_size=64, num_layers=2, num_heads=4, ff_size=128)
        >>> states, steps = encoder(torch.randn(1, 100, 160), torch.tensor([100]))
        >>> len(states), states[-1].shape, steps
        (3, torch.Size([1, 33, 64]), tensor([33]))
    """

    def __init__(
        self,
        input_size: int = 160,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        ff_size: int = 3072,
        downsample: int = 3,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        attention_start: str = "normal",
    ):
        super().__init__()
        if attention_start not in ATTENTION_STARTS:
            raise InputError(
                f"encoder_conf: attention_start '{attention_start}' must be one of "
                f"{', '.join(ATTENTION_STARTS)}"
            )
        sizes = (input_size, hidden_size, num_layers, num_heads, ff_size, downsample)
        if min(sizes) < 1 or hidden_size % num_heads:
            raise InputError(
                f"encoder_conf: hidden_size {hidden_size} must be a multiple of num_heads "
                f"{num_heads}, and no size below 1"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.downsample = downsample
        self.project = torch.nn.Linear(input_size * downsample, hidden_size)
        self.norm = torch.nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = torch.nn.Dropout(dropout)
        self.layers = torch.nn.ModuleList(
            EncoderLayer(hidden_size, num_heads, ff_size, dropout, attention_dropout)
            for _ in range(num_layers)
        )
        # No buffer: it grows with the longest utterance, and training on several GPUs wants
        # buffers of the same size on all of them.
        self.positions = torch.empty(0, hidden_size)
        self.apply(initialize)
        if attention_start == "tied":
            for layer in self.layers:
                tie_queries_and_keys(layer.qkv)

    def output_size(self) -> int:
        """Dimensions of a state."""
        return self.hidden_size

    def stack(self, feats: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Frames as the steps of the encoder; what does not fill a step is left out.

        Args:
            feats: (B, F, D).
            lengths: (B,).

        Returns:
            steps (B, S, R D) with S = F // R, at least 1, and their number (B,), at least 1:
            an utterance shorter than a step has one, filled up with zeros.
        """
        # Only a batch shorter than one step is filled up; longer utterances lose the frames that
        # fill no step.
        short = max(self.downsample - feats.size(1), 0)
        feats = F.pad(feats, (0, 0, 0, short))
        size = feats.size(1) // self.downsample
        steps = feats[:, : size * self.downsample].reshape(len(feats), size, -1)
        return steps, (lengths // self.downsample).clamp(min=1)

    def forward(
        self, feats: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """States of all layers.

        Args:
            feats: (B, F, input_size).
            lengths: (B,).

        Returns:
            the embedding and the output of each layer, each (B, S, H), and the steps (B,).
            States of the padding are not meaningful.
        """
        steps, step_lengths = self.stack(feats, lengths)
        return self.encode(steps, step_lengths), step_lengths

    def encode(
        self, steps: torch.Tensor, lengths: torch.Tensor, depth: int | None = None
    ) -> list[torch.Tensor]:
        """States of stacked frames.

        Args:
            steps: (B, S, R input_size), of `stack`.
            lengths: (B,), at least 1.
            depth: layers to compute; all where None.

        Returns:
            as `forward`, without the lengths.
        """
        inside = is_inside(lengths.to(steps.device), steps.size(1))
        like = self.project.weight
        if self.positions.size(0) < steps.size(1):
            # Twice what is needed: utterances differ, and a table is cheap.
            self.positions = position_table(2 * steps.size(1), self.hidden_size)
        # Kept where the model is; nothing is copied while it stays there.
        self.positions = self.positions.to(like.device, like.dtype)
        embedded = self.project(steps) + self.positions[: steps.size(1)]
        states = [self.dropout(self.norm(embedded))]
        # Keys alone are masked: states of the padding are computed and then ignored.
        attended = inside[:, None, None, :]
        for layer in self.layers[:depth]:
            states.append(layer(states[-1], attended))
        return states


class EncoderLayer(torch.nn.Module):
    """Self-attention and feed-forward, each added to its input and then normalised (BERT).

    Args:
        hidden_size: dimensions of a state.
        num_heads: attention heads.
        ff_size: inner size of the feed-forward part.
        dropout: dropout after both parts.
        attention_dropout: dropout of the attention weights.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        ff_size: int,
        dropout: float,
        attention_dropout: float,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        # One matrix for all three: one large product is faster than three small ones.
        self.qkv = torch.nn.Linear(hidden_size, 3 * hidden_size)
        self.attention_output = torch.nn.Linear(hidden_size, hidden_size)
        self.attention_norm = torch.nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.inner = torch.nn.Linear(hidden_size, ff_size)
        self.outer = torch.nn.Linear(ff_size, hidden_size)
        self.norm = torch.nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, states: torch.Tensor, attended: torch.Tensor | None) -> torch.Tensor:
        """The next states (B, S, H).

        Args:
            states: (B, S, H).
            attended: (B, 1, 1, S), True where a step may be attended to.
        """
        batch, size, hidden = states.shape
        qkv = self.qkv(states).view(batch, size, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        rate = self.attention_dropout if self.training else 0.0
        # It drops attention weights in evaluation mode as well, unless the rate is 0.
        context = F.scaled_dot_product_attention(query, key, value, attended, rate)
        context = context.transpose(1, 2).reshape(batch, size, hidden)
        attention = self.dropout(self.attention_output(context))
        states = self.attention_norm(states + attention)
        return self.norm(states + self.dropout(self.outer(F.gelu(self.inner(states)))))


class ReconstructionHead(torch.nn.Module):
    """Linear, GELU, LayerNorm, Linear: from states to frames (Liu et al. 2020, section 2.1).

    Args:
        hidden_size: dimensions of a state.
        output_size: dimensions of a step that is predicted.
    """

    def __init__(self, hidden_size: int, output_size: int):
        super().__init__()
        self.dense = torch.nn.Linear(hidden_size, hidden_size)
        self.norm = torch.nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.output = torch.nn.Linear(hidden_size, output_size)
        self.apply(initialize)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Predicted steps (..., output_size) of `states` (..., hidden_size)."""
        return self.output(self.norm(F.gelu(self.dense(states))))


def initialize(module: torch.nn.Module) -> None:
    """Weights from N(0, 0.02), biases zero, as BERT and the original."""
    if isinstance(module, torch.nn.Linear):
        torch.nn.init.normal_(module.weight, std=INITIAL_DEVIATION)
        torch.nn.init.zeros_(module.bias)


@torch.no_grad()
def tie_queries_and_keys(qkv: torch.nn.Linear) -> None:
    """Let the queries and keys of a projection (3 H, H) begin equal, from N(0, 1 / H)."""
    # Views: drawing into them changes the projection itself.
    query, key, _ = qkv.weight.chunk(3)
    torch.nn.init.normal_(query, std=query.size(1) ** -0.5)
    key.copy_(query)


def position_table(size: int, hidden_size: int) -> torch.Tensor:
    """Sinusoidal positions (size, hidden_size): sine in even dimensions, cosine in odd ones.

    Dimension i has the angle position / 10000^(2 floor(i / 2) / H) (Vaswani et al. 2017,
    section 3.5).
    """
    dimension = torch.arange(hidden_size, dtype=torch.float64)  # angles become large
    rate = 10000.0 ** (-2.0 * dimension.div(2, rounding_mode="floor") / hidden_size)
    angle = torch.arange(size, dtype=torch.float64).unsqueeze(-1) * rate
    return torch.where(dimension % 2 == 0, angle.sin(), angle.cos()).float()
