"""Ragged waveforms: ART's arrays to padded batches and back."""

from collections.abc import Sequence

import numpy as np
import torch

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded


def to_list(x: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """The waveforms of a float array (N, T) or of an object array of N arrays (T_n,).

    Raises:
        InputError: an element is not one-dimensional or has no samples, or see `check_floats`.
    """
    check_floats(x, "waveform")
    waves = [np.asarray(wave, dtype=np.float32) for wave in x]
    for index, wave in enumerate(waves):
        if wave.ndim == 2:
            raise InputError(
                f"waveform {index} has shape {wave.shape}, must have shape (T,): several channels "
                "are not supported; give one, [:, 0] is what ESPnet takes without a beamformer"
            )
        if wave.ndim != 1 or wave.size == 0:
            raise InputError(f"waveform {index} must have shape (T,), T > 0, not {wave.shape}")
    return waves


def check_floats(x: np.ndarray | Sequence[np.ndarray], what: str) -> None:
    """Refuse integers, which would be taken for samples far beyond full scale, NaN and infinity.

    Args:
        x: inputs of a model, the first axis over utterances.
        what: an input, for the message: waveform.

    Raises:
        InputError: names the first input that is wrong, and its first value that is not finite.
    """
    for index, one in enumerate(map(np.asarray, x)):
        if one.dtype.kind != "f":
            raise InputError(
                f"{what} {index} is an array of {one.dtype}; give floats, full scale 1.0 "
                "(int16 samples divided by 32768)"
            )
        if not np.isfinite(one).all():
            place = np.argwhere(~np.isfinite(one))[0].tolist()
            raise InputError(f"{what} {index} is not finite: {one[tuple(place)]} at index {place}")


def like(x: np.ndarray | Sequence[np.ndarray], waves: Sequence[np.ndarray]) -> np.ndarray:
    """`waves` in the structure of `x`: a float array, or an object array where `x` is ragged."""
    if isinstance(x, np.ndarray) and x.dtype != object:
        return np.stack(list(waves)).astype(np.float32)
    # `np.array(waves, dtype=object)` would make a matrix where all lengths are equal.
    ragged = np.empty(len(waves), dtype=object)
    for index, wave in enumerate(waves):
        ragged[index] = wave
    return ragged


def pad(waves: Sequence[np.ndarray], device: torch.device | str = "cpu") -> Padded:
    """A zero-padded batch (B, T), and its lengths (B,)."""
    lengths = torch.tensor([len(wave) for wave in waves], device=device)
    # PyTorch refuses arrays with negative strides, as reversed ones have.
    tensors = [torch.from_numpy(np.ascontiguousarray(wave)) for wave in waves]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True).to(device), lengths


def unpad(batch: torch.Tensor, lengths: torch.Tensor) -> list[np.ndarray]:
    """The waveforms of a padded batch, as arrays on the host."""
    rows = batch.detach().cpu().numpy()
    # Copies: a slice would keep the whole padded batch in memory.
    return [row[:length].copy() for row, length in zip(rows, lengths.tolist(), strict=True)]
