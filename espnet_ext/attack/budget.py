"""The ball in which an attack may move, for each utterance."""

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from espnet_ext.errors import InputError

if TYPE_CHECKING:
    # Settings are checked by commands that must not wait for PyTorch.
    import torch


@dataclass(frozen=True)
class Budget:
    """Largest perturbation of an utterance, by its norm or by the signal-to-noise ratio.

    Args:
        norm: 2 or infinity.
        eps: radius of the ball in units of the waveform (full scale is 1).
        snr: in dB; the radius is then `|x|_2 / 10^(snr/20)` of the utterance for norm 2, and
            the root mean square over `10^(snr/20)` for norm infinity, so that the SNR is
            never below `snr`.

    Raises:
        InputError: another norm, or not exactly one of `eps` and `snr`.

    Example:
        >>> Budget(2, snr=35).tag
        'snr35'
    """

    norm: float = 2
    eps: float | None = None
    snr: float | None = None

    def __post_init__(self) -> None:
        if self.norm not in (2, math.inf):
            raise InputError(f"norm must be 2 or inf, not {self.norm}")
        if (self.eps is None) == (self.snr is None):
            raise InputError("give the budget as eps or as snr (dB), one of the two")
        if self.eps is not None and not self.eps > 0.0:
            raise InputError(f"eps must be positive, not {self.eps}")

    @property
    def tag(self) -> str:
        """Name of the budget, for directories and tables."""
        return f"snr{self.snr:g}" if self.eps is None else f"eps{self.eps:g}"

    def radius(self, samples: np.ndarray) -> float:
        """Radius of the ball around the utterance `samples` (T,)."""
        if self.eps is not None:
            return self.eps
        size = float(np.linalg.norm(samples.astype(np.float64)))
        if self.norm == math.inf:
            size /= math.sqrt(len(samples))
        return size / 10.0 ** ((self.snr or 0.0) / 20.0)


def steepest(gradient: "torch.Tensor", norm: float) -> "torch.Tensor":
    """Unit step along `gradient` (B, T) for each utterance; zero where it is zero or not finite."""
    largest = gradient.abs().amax(dim=-1, keepdim=True)
    usable = largest.isfinite() & (largest > 0.0)
    # Divided first: the squares of very small or large gradients leave single precision.
    scaled = (gradient / largest).where(usable, 0.0)
    if norm == math.inf:
        return scaled.sign()
    return scaled / scaled.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def project(delta: "torch.Tensor", radius: "torch.Tensor", norm: float) -> "torch.Tensor":
    """The point of each utterance's ball nearest to `delta`.

    Args:
        delta: perturbations (B, T), zero in the padding.
        radius: (B, 1).
        norm: 2 or infinity.
    """
    if norm == math.inf:
        return delta.clamp(-radius, radius)
    length = delta.norm(dim=-1, keepdim=True)
    return delta * (radius / length.clamp(min=1e-12)).clamp(max=1.0)


def random_point(
    shape: int, radius: float, norm: float, generator: np.random.Generator
) -> np.ndarray:
    """A point drawn uniformly from the ball.

    Args:
        shape: samples of the utterance.
        radius: of the ball.
        norm: 2 or infinity.
        generator: source of the draw.
    """
    if norm == math.inf:
        return generator.uniform(-radius, radius, shape)
    direction = generator.standard_normal(shape)
    return direction * (radius * generator.random() ** (1.0 / shape) / np.linalg.norm(direction))


def fit(original: np.ndarray, adversarial: np.ndarray, radius: float, norm: float) -> np.ndarray:
    """`adversarial` moved by rounding errors into the ball, so that the saved samples hold it.

    The projection of the attack is done in single precision: the sum of signal and
    perturbation is rounded once more. Here the difference of what will be saved is
    measured in double precision and shrunk until it fits.

    Args:
        original: (T,) float32.
        adversarial: (T,) float32.
        radius: of the ball.
        norm: 2 or infinity.

    Returns:
        (T,) float32.
    """
    start = original.astype(np.float64)
    delta = adversarial.astype(np.float64) - start
    for attempt in itertools.count():
        fitted = (start + delta).astype(np.float32)
        size = float(np.linalg.norm(fitted.astype(np.float64) - start, ord=norm))
        if size <= radius:
            return fitted
        # Growing, because what is shaved off may be rounded away again.
        delta *= radius / size * (1.0 - min(1e-7 * 2.0**attempt, 0.5))
    raise AssertionError("unreachable: a zero perturbation fits")
