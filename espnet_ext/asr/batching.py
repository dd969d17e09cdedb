"""Batches in which every utterance is computed as if it were alone.

ESPnet 202511 lets the padding of a batch reach the shorter utterances: the
STFT window at the end of an utterance reads the padding where it would read
the reflected signal, subsampling gives shorter rows one or two frames too many,
and the convolutions of Conformer and E-Branchformer blocks read frames behind
the end. A gradient is then off by 10 to 100 %. `exact_batching` corrects this from
outside with hooks; in ESPnet 202611, where most of it is fixed, it changes
only what is left. `padding_error` measures, on the model at hand, whether that
was enough.
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from unittest import mock

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.layers.stft import Stft
from espnet2.layers.utterance_mvn import UtteranceMVN

from espnet_ext.asr.losses import encode, evaluation_mode
from espnet_ext.compat import make_pad_mask
from espnet_ext.frontend.frames import Padded, is_inside, pad_both_ends

TOLERANCE = 1e-4
"""Largest relative error of an utterance's gradient for which padded batches are used."""

BATCH_OVERHEAD = 1.5
"""Seconds of audio that cost as much as one more batch: 1.1 to 2.9 for 3 to 43 million parameters.

Fitted on one CPU core to steps of 1 to 8 utterances of 1 to 4 s, as is that of small models.
"""
SMALL_MODEL = 1_000_000
"""Parameters below which a batch costs more: there, the overhead of each operation dominates."""
SMALL_BATCH_OVERHEAD = 4.0
"""`BATCH_OVERHEAD` of a small model: 3.2 to 4.5 for 0.4 million parameters."""


def batch_overhead(model: torch.nn.Module) -> float:
    """Seconds of audio that cost a model as much as one more batch.

    It is chosen by the size of the model and not measured. A measured time would make the batches
    depend on how busy the machine is, and the last digits of results on the shard and the run.

    Example:
        >>> batch_overhead(torch.nn.Linear(10, 10))
        4.0
    """
    small = sum(parameter.numel() for parameter in model.parameters()) < SMALL_MODEL
    return SMALL_BATCH_OVERHEAD if small else BATCH_OVERHEAD


def plan_batches(
    lengths: Sequence[int],
    max_utterances: int,
    overhead: float,
    equal_lengths: bool = False,
) -> list[list[int]]:
    """The batches of least cost; the plan depends on the arguments alone.

    The cost of a batch is its samples, padding included, and an overhead. So utterances share a
    batch where the padding costs less than another batch would.

    Args:
        lengths: samples of each utterance.
        max_utterances: utterances in a batch.
        overhead: cost of a batch beside its samples, in samples.
        equal_lengths: whether to allow no padding at all.

    Returns:
        indices into `lengths`, longest batch first, so that one that does not fit into
        memory fails at once.

    Example:
        >>> plan_batches([100, 10, 95, 11], max_utterances=8, overhead=20)
        [[0, 2], [3, 1]]
    """
    # With the lengths sorted, some cheapest plan puts only neighbours into a batch, so that a
    # dynamic program over the first n utterances finds it.
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    # The cheapest plan of the first n utterances, and where its last batch begins.
    costs, begins = [0.0], [0]
    for end in range(1, len(order) + 1):
        options = [
            (costs[begin] + overhead + (end - begin) * lengths[order[begin]], begin)
            for begin in range(max(0, end - max_utterances), end)
            if not equal_lengths or lengths[order[begin]] == lengths[order[end - 1]]
        ]
        # Of equal costs the tuple takes the earliest begin, which makes the fuller batch.
        cost, begin = min(options)
        costs.append(cost)
        begins.append(begin)
    batches, end = [], len(order)
    while end > 0:
        batches.append(order[begins[end] : end])
        end = begins[end]
    return batches[::-1]


@contextlib.contextmanager
def exact_batching(model: ESPnetASRModel) -> Iterator[None]:
    """Keep the padding of a batch out of its utterances, inside the block.

    Covers the STFT front end, utterance-wise normalisation, ESPnet's
    convolutional subsampling, and every convolution over time in the encoder.
    """
    frames = _FrameMask()
    with contextlib.ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, Stft) and module.center:
                stack.callback(module.register_forward_pre_hook(_reflect_each_end).remove)
                # The hook pads as `center` does and adds the padding to the lengths, from which
                # ESPnet then counts the same frames.
                stack.enter_context(mock.patch.object(module, "center", False))
            elif isinstance(module, UtteranceMVN):
                # Not a hook on the output: ESPnet subtracts the mean from the padding too, and
                # counts that in the variance, which no hook could take out again.
                forward = partial(_utterance_mvn, module)
                stack.enter_context(mock.patch.object(module, "forward", forward))
        if model.encoder is not None:
            for handle in frames.hooks(model.encoder):
                stack.callback(handle.remove)
        yield


class _FrameMask:
    """Mask (B, 1, T) of the speech frames of the current batch; None before the encoder."""

    def __init__(self) -> None:
        self.mask: torch.Tensor | None = None

    def hooks(self, encoder: torch.nn.Module) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """Put the hooks on the modules of an encoder."""
        yield encoder.register_forward_pre_hook(self.begin)
        for module in encoder.modules():
            # ESPnet's subsampling classes have no base of their own, only this part of their names.
            if "Subsampling" in type(module).__name__:
                yield module.register_forward_hook(self.subsample)
            # A pointwise convolution computes each frame alone, so that no padding reaches another.
            elif isinstance(module, torch.nn.Conv1d) and module.kernel_size[0] > 1:
                yield module.register_forward_pre_hook(self.silence_padding)

    def begin(self, _encoder: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Hook before the encoder: make the mask of a new batch."""
        features, lengths = inputs[:2]
        # Not ESPnet's `make_pad_mask`, which transfers the lengths to the host in every step.
        self.mask = is_inside(lengths.to(features.device), features.size(1)).unsqueeze(1)

    def subsample(
        self,
        module: torch.nn.Module,
        inputs: tuple[torch.Tensor, ...],
        output: tuple[torch.Tensor, ...],
    ) -> tuple[torch.Tensor, ...]:
        """Hook after the subsampling: replace the mask by the one that each utterance has alone."""
        frames, mask = output[0], output[1]
        if mask is None:
            return output
        # ESPnet slices the padded mask ([:, :, :-2:2]), which leaves one or two frames too many to
        # utterances that are shorter than the batch. Here, the frames are those that the
        # convolutions make of each utterance alone.
        lengths = inputs[1].squeeze(1).sum(dim=-1)
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d):
                kernel, stride = int(layer.kernel_size[0]), int(layer.stride[0])
                lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        steps = torch.arange(mask.size(-1), device=mask.device)
        self.mask = (steps < lengths.unsqueeze(-1)).unsqueeze(1)
        return (frames, self.mask.to(mask.dtype), *output[2:])

    def silence_padding(
        self, module: torch.nn.Module, inputs: tuple[torch.Tensor]
    ) -> tuple[torch.Tensor] | None:
        """Hook before a convolution: set the padding to zero."""
        # The mask has one frame rate and does not apply to convolutions at another.
        if self.mask is None or self.mask.size(-1) != inputs[0].size(-1):
            return None
        return (inputs[0].masked_fill(~self.mask, 0.0),)


def _reflect_each_end(stft: Stft, inputs: tuple[torch.Tensor, ...]) -> Padded:
    """Hook before a centred STFT: reflect each utterance at its own end, not the batch's."""
    speech, lengths = inputs[0], inputs[1] if len(inputs) > 1 else None
    if lengths is None:
        lengths = torch.full((speech.size(0),), speech.size(1), device=speech.device)
    side = stft.n_fft // 2
    if speech.size(1) <= side:  # as PyTorch's own reflection refuses it
        raise ValueError(f"{speech.size(1)} samples cannot be reflected by {side}")
    return pad_both_ends(speech, lengths, side, "reflect"), lengths + 2 * side


def _utterance_mvn(
    layer: UtteranceMVN, x: torch.Tensor, ilens: torch.Tensor | None = None
) -> Padded:
    """ESPnet's utterance-wise normalisation with the padding kept at zero.

    Args:
        layer: what to normalise.
        x: (B, T, D), or (B, T, C, D) of a sliding window.
        ilens: (B,).
    """
    if ilens is None:
        ilens = torch.full((x.size(0),), x.size(1), device=x.device)
    further = [1] * (x.dim() - 2)
    ilens_here = ilens.to(x.device)
    # The padding is left out of the mean, of the variance and of the result.
    padding = ~is_inside(ilens_here, x.size(1)).view(*x.shape[:2], *further)
    count = ilens_here.to(x.dtype).view(-1, 1, *further)
    x = x.masked_fill(padding, 0.0)
    mean = x.sum(dim=1, keepdim=True) / count
    centred = (x - mean).masked_fill(padding, 0.0)
    normalised = centred if layer.norm_means else x
    if layer.norm_vars:
        variance = centred.pow(2).sum(dim=1, keepdim=True) / count
        normalised = normalised / variance.sqrt().clamp(min=layer.eps)
    return normalised, ilens


def padding_error(model: ESPnetASRModel, sample_rate: int, seed: int = 0) -> float:
    """How much a padded batch changes the gradient of its shorter utterance.

    It is measured on noise, inside `exact_batching`: the gradient of the direction of the encoder
    output for an utterance of 1.0 s, alone and beside one of 1.37 s.

    Returns:
        norm of the difference over norm of the gradient, 1 where the gradient is zero and
        so says nothing; above `TOLERANCE` only batches of equal lengths are exact.
    """
    speech, lengths = noise_probe(model, sample_rate, seed)
    short = sample_rate
    # Transcription plans its batches inside of `torch.no_grad`, and the probe needs a gradient.
    with evaluation_mode(model), exact_batching(model), torch.enable_grad():
        together = _direction_gradient(model, speech, lengths)[1, :short]
        alone = _direction_gradient(model, speech[1:, :short], lengths[1:])[0]
    size = alone.norm()
    return float((together - alone).norm() / size) if size > 0 else 1.0


def noise_probe(model: ESPnetASRModel, sample_rate: int, seed: int = 0) -> Padded:
    """A batch (2, T) of noise, 1.37 s and 1.0 s, and its lengths (2,)."""
    device = next(model.parameters()).device
    # Drawn on the CPU, because a GPU makes other numbers of the same seed.
    generator = torch.Generator().manual_seed(seed)
    long, short = int(1.37 * sample_rate), sample_rate
    speech = (0.1 * torch.randn(2, long, generator=generator)).to(device)
    speech[1, short:] = 0.0
    return speech, torch.tensor([long, short], device=device)


def _direction_gradient(
    model: ESPnetASRModel, speech: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    speech = speech.clone().requires_grad_()
    encoder_out, encoder_lengths = encode(model, speech, lengths)
    padding = make_pad_mask(encoder_lengths, maxlen=encoder_out.size(1)).to(speech.device)
    # A fixed direction, for normalised outputs have a constant energy by themselves; its cosine,
    # which no scale of the outputs saturates.
    direction = torch.linspace(-1.0, 1.0, encoder_out.size(-1), device=speech.device)
    cosines = torch.nn.functional.cosine_similarity(encoder_out, direction, dim=-1)
    return torch.autograd.grad(cosines.masked_fill(padding, 0.0).sum(), speech)[0]
