#!/usr/bin/env python3
"""Time of a pretraining step against one of s3prl, with the same weights.

Without `--s3prl` the other side is a re-implementation in s3prl's manner: separate
projections, written-out normalisation and GELU, attention scores kept, head on all steps.
"""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import compare, get_parser, ratio, say, show, verdict
from torch import nn

from espnet_ext.ssl.encoder import MockingjayEncoder, ReconstructionHead, position_table
from espnet_ext.ssl.masking import selected_first
from espnet_ext.ssl.s3prl import encoder_names

INPUT, OUTPUT = 480, 3075  # three stacked frames of 160 mels and of 1025 bins
# At these sizes a GPU waits for operations to be launched; s3prl has 2.3 times as many as this
# project forward and backward, and the optimiser comes on top of both.
GPU_LIMIT = 1.8


class Setting(NamedTuple):
    """Sizes of one comparison, and what it should reach on a CPU."""

    layers: int
    hidden: int
    heads: int
    batch: int
    steps: int
    dropout: float
    limit: float


SETTINGS = {
    "small": Setting(3, 256, 4, 12, 100, 0.1, 1.25),
    "small, no dropout": Setting(3, 256, 4, 12, 100, 0.0, 1.5),
    "large": Setting(12, 768, 12, 2, 133, 0.1, 1.0),
}


def gelu(x: torch.Tensor) -> torch.Tensor:
    """As s3prl writes it."""
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class Norm(nn.Module):
    """Layer normalisation written out, as s3prl's TransformerLayerNorm."""

    def __init__(self, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised `x`."""
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).pow(2).mean(-1, keepdim=True)
        return self.weight * ((x - mean) / torch.sqrt(variance + 1e-12)) + self.bias


class SelfAttention(nn.Module):
    """Separate projections, and a matrix of scores that is kept for the backward pass."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.heads = heads
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Context of each step."""
        split = [
            part(x).unflatten(-1, (self.heads, -1)).permute(0, 2, 1, 3)
            for part in (self.query, self.key, self.value)
        ]
        scores = split[0] @ split[1].transpose(-1, -2) / math.sqrt(split[0].size(-1)) + mask
        context = self.dropout(scores.softmax(dim=-1)) @ split[2]
        return context.permute(0, 2, 1, 3).contiguous().flatten(2)


class Output(nn.Module):
    """Linear, dropout, residual, normalisation."""

    def __init__(self, given: int, size: int, dropout: float):
        super().__init__()
        self.dense, self.LayerNorm = nn.Linear(given, size), Norm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """The next states."""
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Layer(nn.Module):
    """A layer with the names of s3prl."""

    def __init__(self, s: Setting):
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": SelfAttention(s.hidden, s.heads, s.dropout),
                "output": Output(s.hidden, s.hidden, s.dropout),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(s.hidden, 4 * s.hidden)})
        self.output = Output(4 * s.hidden, s.hidden, s.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The next states."""
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(gelu(self.intermediate["dense"](x)), x)


class Embedding(nn.Module):
    """Projection, positions, normalisation, dropout."""

    def __init__(self, s: Setting):
        super().__init__()
        self.spec_transform, self.LayerNorm = nn.Linear(INPUT, s.hidden), Norm(s.hidden)
        self.dropout = nn.Dropout(s.dropout)

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """States before the first layer."""
        return self.dropout(self.LayerNorm(self.spec_transform(x) + positions))


class Masked(nn.Module):
    """The head on all steps, then the loss on the masked ones, as s3prl has it."""

    def loss(self, data: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean absolute error on the selected steps."""
        predicted = self(data["steps"], data["inside"])
        chosen = data["selected"].unsqueeze(-1).expand_as(predicted)
        wanted = data["target"].masked_select(chosen)
        return nn.functional.l1_loss(predicted.masked_select(chosen), wanted)


class Published(Masked):
    """s3prl's own classes.

    Args:
        s: sizes.
        path: s3prl/upstream/mockingjay/model.py; it needs nothing but PyTorch and NumPy.
    """

    def __init__(self, s: Setting, path: Path):
        super().__init__()
        spec = importlib.util.spec_from_file_location("s3prl_mockingjay", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.TransformerConfig(
            {
                "hidden_size": s.hidden,
                "num_hidden_layers": s.layers,
                "num_attention_heads": s.heads,
                "hidden_act": "gelu",
                "intermediate_size": 4 * s.hidden,
                "hidden_dropout_prob": s.dropout,
                "attention_probs_dropout_prob": s.dropout,
                "initializer_range": 0.02,
                "layer_norm_eps": 1e-12,
                "share_layer": False,
                "pre_layer_norm": False,
            }
        )
        self.transformer = module.TransformerModel(config, INPUT)
        self.head = module.TransformerSpecPredictionHead(config, OUTPUT)
        self.register_buffer("positions", position_table(s.steps, s.hidden), persistent=False)

    def forward(self, x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Predicted steps."""
        positions = self.positions.expand(len(x), -1, -1)
        states = self.transformer(x, positions, inside.float(), output_all_encoded_layers=False)
        return self.head(states)[0]

    def weights(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Of the encoder and of the head, with s3prl's names."""
        return self.transformer.state_dict(), self.head.state_dict()


class Reference(Masked):
    """Encoder and head in the manner of s3prl."""

    def __init__(self, s: Setting):
        super().__init__()
        self.input_representations = Embedding(s)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(s) for _ in range(s.layers))})
        self.dense, self.LayerNorm = nn.Linear(s.hidden, s.hidden), Norm(s.hidden)
        self.output = nn.Linear(s.hidden, OUTPUT)
        self.register_buffer("positions", position_table(s.steps, s.hidden), persistent=False)

    def forward(self, x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Predicted steps."""
        mask = (1.0 - inside.float())[:, None, None, :] * -10000.0
        states = self.input_representations(x, self.positions.expand(len(x), -1, -1))
        for layer in self.encoder["layer"]:
            states = layer(states, mask)
        return self.output(self.LayerNorm(gelu(self.dense(states))))

    def weights(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Of the encoder and of the head, with s3prl's names."""
        state = self.state_dict()
        head = {k: v for k, v in state.items() if k.startswith(("dense", "LayerNorm", "output"))}
        return {k: v for k, v in state.items() if k not in head}, head


class Ours(nn.Module):
    """This project's encoder, and its head on the selected steps alone."""

    def __init__(self, s: Setting, reference: Reference | Published):
        super().__init__()
        self.encoder = MockingjayEncoder(
            INPUT, s.hidden, s.layers, s.heads, 4 * s.hidden, 1, s.dropout, s.dropout
        )
        self.head = ReconstructionHead(s.hidden, OUTPUT)
        encoder, head = reference.weights()
        names = encoder_names(s.layers)
        self.encoder.load_state_dict(
            {own: torch.cat([encoder[part] for part in parts]) for own, parts in names.items()}
        )
        self.head.load_state_dict({k.replace("LayerNorm", "norm"): v for k, v in head.items()})

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Predicted steps, all of them."""
        return self.head(self.encoder.encode(x, lengths)[-1])

    def loss(self, data: dict[str, Any]) -> torch.Tensor:
        """Mean absolute error on the selected steps."""
        states = self.encoder.encode(data["steps"], data["lengths"])[-1]
        index, counted = selected_first(data["selected"], data["most"])
        rows = index.unsqueeze(-1)
        predicted = self.head(states.gather(1, rows.expand(-1, -1, states.size(-1))))
        target = data["target"].gather(1, rows.expand(-1, -1, OUTPUT))
        return ((predicted - target).abs().mean(-1) * counted).sum() / counted.sum()


def make_batch(s: Setting, device: str) -> dict[str, Any]:
    """Noise of two lengths with 15 % of the steps selected."""
    torch.manual_seed(0)
    lengths = torch.full((s.batch,), s.steps)
    lengths[::2] = s.steps * 4 // 5
    inside = torch.arange(s.steps) < lengths.unsqueeze(-1)
    selected = torch.zeros(s.batch, s.steps, dtype=torch.bool)
    most = int(0.15 * s.steps)
    for row, length in zip(selected, lengths.tolist(), strict=True):
        row[torch.randperm(length)[: int(0.15 * length)]] = True
    data = {
        "steps": torch.randn(s.batch, s.steps, INPUT) * inside.unsqueeze(-1),
        "target": torch.randn(s.batch, s.steps, OUTPUT),
        "lengths": lengths,
        "inside": inside,
        "selected": selected,
    }
    return {**{k: v.to(device) for k, v in data.items()}, "most": most}


def training_step(
    model: Masked | Ours, data: dict[str, Any], device: str, half: bool = False
) -> Callable[[], None]:
    """Forward, backward, clip, update."""
    fused = {"fused": True} if device != "cpu" and isinstance(model, Ours) else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **fused)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = model.loss(data)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


@torch.no_grad()
def largest_difference(reference: Masked, ours: Ours, data: dict[str, Any]) -> float:
    """Between the outputs of the two in evaluation mode."""
    reference.eval(), ours.eval()
    difference = reference(data["steps"], data["inside"]) - ours(data["steps"], data["lengths"])
    reference.train(), ours.train()
    return float(difference[data["inside"]].abs().max())


def main() -> None:
    """Print times and ratios."""
    parser = get_parser(__doc__)
    parser.add_argument("--setting", choices=SETTINGS, help="one of them (default: all)")
    parser.add_argument("--batch", type=int, help="utterances, in place of the setting's")
    parser.add_argument("--s3prl", type=Path, help="model.py of s3prl's upstream/mockingjay")
    args = parser.parse_args()
    for name in [args.setting] if args.setting else SETTINGS:
        setting = SETTINGS[name]._replace(**({"batch": args.batch} if args.batch else {}))
        run(name, setting, args.device, args.repeats, args.s3prl)


def run(name: str, s: Setting, device: str, repeats: int, published: Path | None) -> None:
    """One comparison."""
    torch.manual_seed(0)
    reference = (Published(s, published) if published else Reference(s)).to(device)
    other = "s3prl" if published else "manner of s3prl"
    ours, data = Ours(s, reference).to(device), make_batch(s, device)
    print(f"{name}: {s.layers} x {s.hidden}, {s.batch} x {s.steps} steps, dropout {s.dropout}")
    apart = largest_difference(reference, ours, data)
    verdict(f"{name}: largest difference of the outputs", apart, 1e-5)
    cases = {
        other: training_step(reference, data, device),
        "this project": training_step(ours, data, device),
    }
    half = "this project, bfloat16"
    if device != "cpu":
        cases[half] = training_step(ours, data, device, half=True)
    seconds = compare(cases, repeats, device)
    show({f"{name}: {case}": values for case, values in seconds.items()})
    limit = s.limit if device == "cpu" else GPU_LIMIT
    found = ratio(seconds, other, "this project")
    verdict(f"{name}: {other} / this project", found, limit, at_most=False)
    if half in cases:  # its conversions are more operations, which large batches pay back
        say(f"{name}: {other} / {half}", ratio(seconds, other, half))


if __name__ == "__main__":
    main()
