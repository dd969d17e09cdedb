"""Which part of a model sees the padding of a batch, for the message about it."""

import torch
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.batching import TOLERANCE, exact_batching, noise_probe
from espnet_ext.asr.losses import encode, evaluation_mode

Call = tuple[str, list[torch.Tensor], list[torch.Tensor]]


@torch.no_grad()
def padding_cause(model: ESPnetASRModel, sample_rate: int) -> str:
    """Why `espnet_ext.asr.batching.padding_error` finds an error, as a part of a sentence.

    The shorter utterance of the probe goes through the model alone, beside the longer one, and
    alone once more. The cause is the first module whose output differs although its input does
    not. Modules are compared in the order in which they finish, so a part is named before the
    module that contains it.

    Example:
        >>> padding_cause(model, 16000)                              # doctest: +SKIP
        'encoder.encoders.0.self_attn (LegacyRelPositionMultiHeadedAttention) sees the padding'
    """
    speech, lengths = noise_probe(model, sample_rate)
    alone, sizes = speech[1:, : lengths[1]], lengths[1:]
    with evaluation_mode(model), exact_batching(model):
        # Twice alone first: what draws at random would be taken for an effect of the padding.
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
    named = {f"{name} ({type(m).__name__})": m for name, m in model.named_modules() if name}
    handles = [
        module.register_forward_hook(
            lambda _, args, kwargs, output, name=name: calls.append(
                (name, _of_rows((args, tuple(kwargs.values())), rows), _of_rows(output, rows))
            ),
            with_kwargs=True,
        )
        for name, module in named.items()
    ]
    try:
        encode(model, speech, lengths)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _of_rows(value: object, rows: int) -> list[torch.Tensor]:
    """Copies of the floating tensors in a value that have one row per utterance."""
    if isinstance(value, torch.Tensor):
        fits = value.is_floating_point() and value.dim() > 1 and len(value) == rows
        # A copy, because later modules may change a tensor in place, as ESPnet's normalisation
        # does.
        return [value.detach().clone()] if fits else []
    parts = value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in _of_rows(part, rows)]


def _first_difference(first: list[Call], second: list[Call], row: int) -> str | None:
    for (name, given, made), (other, given_there, made_there) in zip(first, second, strict=False):
        if name != other:
            return None
        same = _agree(given, given_there, row)
        if same and not _agree(made, made_there, row):
            return name
    return None


def _agree(alone: list[torch.Tensor], batch: list[torch.Tensor], row: int) -> bool:
    """Whether an utterance alone is its part of the batch: as many frames from the start."""
    for one, many in zip(alone, batch, strict=False):
        if one.dim() != many.dim():
            continue
        # In a padded batch the utterance has further frames behind its own; these may be anything.
        part = many[row][tuple(slice(size) for size in one.shape[1:])]
        if one[0].shape != part.shape:
            return False
        # Not `>`: a norm that is NaN is a difference, too.
        if not float((one[0] - part).norm()) <= TOLERANCE * max(float(one[0].norm()), 1e-30):
            return False
    return True
