"""Which part of a model sees the padding of a batch, for the message about it."""

from collections.abc import Iterator
from typing import Any

import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.batching import TOLERANCE, exact_batching, probe
from espnet_ext.asr.losses import encode, evaluation_mode
from espnet_ext.data.configurations import Config

Tensors = list[torch.Tensor]
Call = tuple[str, Tensors, Tensors]


@torch.no_grad()
def padding_cause(model: ESPnetASRModel, sample_rate: int) -> str:
    """Why `espnet_ext.asr.batching.padding_error` finds an error, as a part of a sentence.

    The shorter utterance of the probe goes through the model alone, beside the longer one, and
    alone once more. The cause is the first module whose output differs although what it was given
    does not; a module outside of which nothing differs is a parent of none that does.

    Example:
        >>> padding_cause(model, 16000)                              # doctest: +SKIP
        'encoder.encoders.0.self_attn (LegacyRelPositionMultiHeadedAttention) sees the padding'
    """
    speech, lengths = probe(model, sample_rate)
    alone, sizes = speech[1:, : lengths[1]], lengths[1:]
    with evaluation_mode(model), exact_batching(model):
        first, again = (_calls(model, alone, sizes) for _ in range(2))
        together = _calls(model, speech, lengths)
    if name := _first_difference(first, again, row=0):
        return f"{name} draws at random, or keeps something from one batch to the next"
    if name := _first_difference(first, together, row=1):
        return f"{name} sees the padding"
    if len(first) != len(together):
        return "other parts of the model are used in a padded batch"
    return "the outputs of its parts are the same, and only the gradients differ"


def _calls(model: ESPnetASRModel, speech: torch.Tensor, lengths: torch.Tensor) -> list[Call]:
    """Name, inputs and outputs of every module in the order in which they finish."""
    calls: list[Call] = []
    rows = len(speech)

    def _hook(name: str) -> Any:
        def _note(
            _module: torch.nn.Module, args: tuple[Any, ...], kwargs: Config, output: Any
        ) -> None:
            given = _of_rows((args, tuple(kwargs.values())), rows)
            calls.append((name, given, _of_rows(output, rows)))

        return _note

    handles = [
        module.register_forward_hook(_hook(f"{name} ({type(module).__name__})"), with_kwargs=True)
        for name, module in model.named_modules()
        if name
    ]
    try:
        encode(model, speech, lengths)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _of_rows(value: Any, rows: int) -> Tensors:
    """Copies of the floating tensors in a value that have one row per utterance."""
    found: Tensors = []

    def _visit(item: Any) -> None:
        if isinstance(item, torch.Tensor):
            if item.is_floating_point() and item.dim() > 1 and len(item) == rows:
                found.append(item.detach().clone())
        elif isinstance(item, list | tuple):
            for part in item:
                _visit(part)

    _visit(value)
    return found


def _first_difference(first: list[Call], second: list[Call], row: int) -> str | None:
    for (name, given, made), (other, given_there, made_there) in zip(first, second, strict=False):
        if name != other:
            return None
        same = _agree(given, given_there, row)
        if same and not _agree(made, made_there, row):
            return name
    return None


def _agree(alone: Tensors, batch: Tensors, row: int) -> bool:
    return all(_close(*pair) for pair in _pairs(alone, batch, row))


def _pairs(alone: Tensors, batch: Tensors, row: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The utterance alone, and its part of the batch: the same number of frames from the start."""
    for one, many in zip(alone, batch, strict=False):
        if one.dim() == many.dim():
            yield one[0], many[row][tuple(slice(size) for size in one.shape[1:])]


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    size = float(one.norm())
    return float((one - other).norm()) <= TOLERANCE * max(size, 1e-30)
