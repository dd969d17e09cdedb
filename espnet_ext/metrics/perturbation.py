"""How large a perturbation is, measured on the true samples of one utterance."""

from typing import NamedTuple

import numpy as np


class Perturbation(NamedTuple):
    """Size of a perturbation.

    Attributes:
        l2: Euclidean norm.
        linf: largest absolute sample.
        snr: energy of the signal over energy of the perturbation in dB; None without a
            perturbation.
    """

    l2: float
    linf: float
    snr: float | None


def measure(original: np.ndarray, adversarial: np.ndarray) -> Perturbation:
    """Measure `adversarial - original` in double precision.

    Args:
        original: samples of the utterance (T,), or features (F, D), without padding.
        adversarial: like it.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> measure(np.array([1.0, 0.0]), np.array([1.0, 0.1]))
        Perturbation(l2=0.1, linf=0.1, snr=20.0)
    """
    if original.shape != adversarial.shape:
        raise ValueError(f"lengths differ: {original.shape} and {adversarial.shape}")
    # In single precision the energy of a long recording would lose digits.
    signal = original.astype(np.float64).ravel()
    noise = adversarial.astype(np.float64).ravel() - signal
    noise_energy = float(noise @ noise)
    snr = 10.0 * float(np.log10((signal @ signal) / noise_energy)) if noise_energy > 0.0 else None
    return Perturbation(float(np.sqrt(noise_energy)), float(np.abs(noise).max(initial=0.0)), snr)
