"""What all front ends do with waveforms and frames of different lengths in one batch."""

from typing import TypeAlias

import humanfriendly
import torch

from espnet_ext.errors import InputError

Padded: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""A padded batch (B, N, ...), and how many samples, frames or steps of it each row has (B,)."""


def sample_rate(fs: int | str) -> int:
    """Sample rate in Hz from a number or from text as ESPnet's recipes write it.

    Raises:
        InputError: the text is not a number.

    Example:
        >>> sample_rate("16k")
        16000
    """
    try:
        return humanfriendly.parse_size(str(fs))
    except humanfriendly.InvalidSize:
        raise InputError(f"frontend_conf.fs is not a sample rate: {fs}") from None


def without_autocast(speech: torch.Tensor) -> torch.autocast:
    """A block in which nothing is computed in half precision, whatever `--use_amp` says.

    Mel powers span many orders of magnitude: in bfloat16 their logarithms are off by 0.01.
    """
    return torch.autocast(speech.device.type, enabled=False)


def is_inside(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Which positions belong to each utterance, without a transfer to the host.

    Args:
        lengths: (B,).
        size: positions of the padded batch.

    Returns:
        (B, size), True inside.

    Example:
        >>> is_inside(torch.tensor([1, 2]), 2)
        tensor([[ True, False],
                [ True,  True]])
    """
    # Not ESPnet's `make_pad_mask`, which reads the lengths on the host: that waits for the device.
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(-1)


def zero_padding(feats: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """`feats` (B, F, D) with zeros after the end of each utterance; a new tensor."""
    inside = is_inside(lengths.to(feats.device), feats.size(1))
    return feats.masked_fill(~inside.unsqueeze(-1), 0.0)


def pad_both_ends(
    speech: torch.Tensor, lengths: torch.Tensor, width: int, mode: str
) -> torch.Tensor:
    """Continue each utterance by `width` samples at its own two ends.

    PyTorch's own padding continues the batch: the last frames of a shorter utterance
    would depend on what it is batched with.

    Args:
        speech: (B, T).
        lengths: (B,), at least 1.
        width: samples to add at each end.
        mode: "reflect" as `numpy.pad` (also where `width` exceeds the utterance), or
            "constant" for zeros.

    Returns:
        (B, T + 2 width); zero from `width` samples after the end of an utterance.
    """
    lengths, ends = lengths.to(speech.device).unsqueeze(-1), (width, width)
    # Lengths differ from row to row, so one call of `pad` in mode reflect will not do.
    padded = torch.nn.functional.pad(speech, ends)
    steps = torch.arange(padded.size(1), device=speech.device)
    if mode == "reflect":
        # The samples beyond both ends, from -width and from the end on; no others are gathered,
        # for that takes long backwards.
        edge = torch.arange(width, device=speech.device)
        beyond = torch.cat([(edge - width).expand(len(speech), -1), lengths + edge], dim=1)
        # A reflection at both ends repeats with this period. One sample has none, and only itself.
        period = (2 * (lengths - 1)).clamp(min=1)
        folded = beyond.remainder(period)
        source = torch.minimum(folded, period - folded).clamp(max=speech.size(1) - 1)
        padded = padded.scatter(1, beyond + width, speech.gather(1, source))
    # Whatever the batch has after an utterance becomes zero: it is not always silence.
    known = lengths + (2 * width if mode == "reflect" else width)
    return padded.masked_fill(steps >= known, 0.0)


def deltas(feats: torch.Tensor, lengths: torch.Tensor, window: int = 9) -> torch.Tensor:
    """Slope of the line fitted to `window` frames around each frame.

    The same as `librosa.feature.delta(feats, width=window)`: at both ends the fit to the first
    and last `window` frames is continued. An utterance of fewer frames, which librosa
    refuses, takes the slope of one line through all of them (0 for a single frame).

    Args:
        feats: (B, F, D).
        lengths: (B,).
        window: frames of the fit, odd and at least 3.

    Returns:
        (B, F, D); the padding is not meaningful.
    """
    reach = window // 2
    # Padded, so that there is a run also where the whole batch is shorter than the window.
    slopes = slopes_of_runs(torch.nn.functional.pad(feats, (0, 0, 0, window)), reach)
    lengths = lengths.to(feats.device).unsqueeze(-1)
    frames = torch.arange(feats.size(1), device=feats.device)
    # The slope at index i is that of the fit centred on frame i + reach.
    nearest = torch.minimum(frames - reach, lengths - window).clamp(min=0)
    inner = slopes.gather(1, nearest.unsqueeze(-1).expand_as(feats))
    short = (lengths < window).unsqueeze(-1)
    return torch.where(short, slope_of_all(feats, lengths), inner)


def slopes_of_runs(feats: torch.Tensor, reach: int) -> torch.Tensor:
    """Least-squares slope of every run of 2 `reach` + 1 frames, (B, F - 2 reach, D)."""
    count = feats.size(1) - 2 * reach
    total = torch.zeros_like(feats[:, :count])
    for k in range(1, reach + 1):
        after, before = feats[:, reach + k :][:, :count], feats[:, reach - k :][:, :count]
        total = total + k * (after - before)
    # The sum of the squared distances from the centre: the denominator of a least-squares slope.
    return total / (2 * sum(k * k for k in range(1, reach + 1)))


def slope_of_all(feats: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Least-squares slope through all frames of each utterance, (B, 1, D)."""
    frames = torch.arange(feats.size(1), device=feats.device, dtype=feats.dtype)
    centred = (frames - (lengths - 1) / 2).masked_fill(frames >= lengths, 0.0)
    # One frame has no slope: 0 / 1, not 0 / 0.
    spread = centred.square().sum(dim=1).clamp(min=0.5)
    return torch.einsum("bf,bfd->bd", centred / spread.unsqueeze(-1), feats).unsqueeze(1)
