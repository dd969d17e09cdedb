"""How far an attack may move an utterance: a budget, and the ball that it means for a batch.

A budget is a norm and a size. Its ball holds exactly: the difference between the saved and the
given input, computed in double precision, is never larger than the radius.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from espnet_ext.attack.seeds import generator_of
from espnet_ext.errors import InputError

if TYPE_CHECKING:  # budgets are read by commands that need no PyTorch
    import torch

UNITS = ("raw", "std", "db", "snr")


@dataclasses.dataclass(frozen=True)
class Budget:
    """Largest size of a perturbation in a norm.

    Args:
        norm: 2 or infinity.
        size: radius of the ball in `unit`.
        unit: "raw", what is attacked (full scale of a waveform is 1); "std", standard deviations
            of each dimension of features; "db", decibels of features; or "snr", signal-to-noise
            ratio of a waveform in dB: the radius is then `|x|_2 / 10^(size/20)` for norm 2, and
            the root mean square over `10^(size/20)` for norm infinity, so that the SNR is never
            below `size`.

    Raises:
        InputError: another norm or unit, a radius that is not positive, or a size that is not
            finite.

    Example:
        >>> Budget(2, 35, "snr").tag
        'snr35'
    """

    norm: float
    size: float
    unit: str = "raw"

    def __post_init__(self) -> None:
        if self.norm not in (2, math.inf):
            raise InputError(f"norm must be 2 or inf, not {self.norm}")
        if self.unit not in UNITS:
            raise InputError(f"unit must be one of {', '.join(UNITS)}, not '{self.unit}'")
        if self.unit != "snr" and not 0.0 < self.size < math.inf:
            raise InputError(f"eps must be positive, not {self.size}")
        if not math.isfinite(self.size):
            raise InputError(f"snr must be a number of decibels, not {self.size}")

    @property
    def tag(self) -> str:
        """Name of the budget, for directories and tables."""
        return f"{'snr' if self.unit == 'snr' else 'eps'}{self.size:g}"

    def radius(self, samples: np.ndarray) -> float:
        """Radius of the ball around the utterance `samples` (T,), in multiples of the unit."""
        if self.unit != "snr":
            return self.size
        # Double precision, in which the measured SNR is checked against the budget.
        size = float(np.linalg.norm(samples.astype(np.float64)))
        if self.norm == math.inf:
            # Each sample at the root mean square over 10^(size/20) has the power that the SNR
            # allows.
            size /= math.sqrt(len(samples))
        return size / 10.0 ** (self.size / 20.0)

    def to_json(self) -> dict[str, object]:
        """The budget as JSON."""
        norm = "inf" if self.norm == math.inf else 2
        return {"norm": norm, "size": self.size, "unit": self.unit, "tag": self.tag}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Budget":
        """The budget that `to_json` has written."""
        return cls(float(str(values["norm"])), float(str(values["size"])), str(values["unit"]))


@dataclasses.dataclass(frozen=True)
class Ball:
    """All inputs of a batch that are within a budget, and within the range of inputs.

    Attributes:
        norm: 2 or infinity.
        centre: the clean inputs (B, T) or (B, F, D), float32.
        lengths: samples or frames of each (B,).
        scale: what a radius of 1 is: (D,), or None for 1.
        radius: (B, 1) or (B, 1, 1), in multiples of the scale, double precision.
        extent: `radius * scale` like the centre, zero in the padding, float32.
        low: smallest inputs of each dimension, like the centre.
        high: largest inputs.
    """

    norm: float
    centre: "torch.Tensor"
    lengths: "torch.Tensor"
    scale: "torch.Tensor | None"
    radius: "torch.Tensor"
    extent: "torch.Tensor"
    low: "torch.Tensor"
    high: "torch.Tensor"

    @classmethod
    def around(
        cls,
        centre: "torch.Tensor",
        lengths: "torch.Tensor",
        budget: Budget,
        scale: "torch.Tensor | None" = None,
        clip_values: tuple[float, float] | None = None,
    ) -> "Ball":
        """The ball of a batch.

        Bounds are rounded towards the centre, so that they hold in exact arithmetic.

        Args:
            centre: clean inputs, padded.
            lengths: samples or frames of each.
            budget: its size.
            scale: what a radius of 1 is.
            clip_values: range of inputs; what is outside of it already stays where it is.
        """
        import torch

        # A radius from an SNR depends on the utterance, and not on its padding.
        waves = [row[:n].cpu().numpy() for row, n in zip(centre, lengths.tolist(), strict=True)]
        radii = torch.tensor([budget.radius(w) for w in waves], dtype=torch.float64)
        exact = centre.double()
        radius = radii.to(centre.device).view(-1, *[1] * (centre.ndim - 1))
        if scale is not None:
            scale = scale.to(centre.device)
        within = inside(centre, lengths)
        extent = radius * (1.0 if scale is None else scale.double()) * within
        if budget.norm == math.inf:
            low, high = (exact - extent).float(), (exact + extent).float()
            # Rounded to float32, a bound may lie outside of the ball by half a unit in the last
            # place. Such a bound moves to the next float towards the centre.
            low = torch.where(exact - low.double() > extent, low.nextafter(centre), low)
            high = torch.where(high.double() - exact > extent, high.nextafter(centre), high)
        else:
            # A ball of norm 2 has no bound in a single dimension; the padding stays where it is.
            low, high = (centre.where(~within, sign * math.inf) for sign in (-1.0, 1.0))
        if clip_values is not None:
            # ART turns clip values into arrays.
            low = torch.minimum(low.clamp(min=float(np.asarray(clip_values[0]))), centre)
            high = torch.maximum(high.clamp(max=float(np.asarray(clip_values[1]))), centre)
        return cls(budget.norm, centre, lengths, scale, radius, extent.float(), low, high)

    def rows(self, rows: "torch.Tensor | slice") -> "Ball":
        """The ball of some utterances of the batch."""
        if isinstance(rows, slice):
            return self
        # The scale has no rows: it belongs to the dimensions.
        names = ("centre", "lengths", "radius", "extent", "low", "high")
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in names})

    def nearest(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """`inputs` clipped to their range, then moved to the nearest point of the ball."""
        # Clipped before it is projected: the projection moves towards the centre, which is in the
        # range, and cannot leave the range again.
        inputs = inputs.clamp(self.low, self.high)
        if self.norm == math.inf:
            return inputs
        delta = inputs - self.centre
        delta = delta if self.scale is None else delta / self.scale
        # Without a perturbation the quotient is large and not a division by zero.
        shrink = (self.radius.float() / _length(delta).clamp(min=1e-12)).clamp(max=1.0)
        return self.centre + self._of_units(delta * shrink)

    def step(self, gradient: "torch.Tensor", size: "torch.Tensor | float") -> "torch.Tensor":
        """The step along which a linear function grows most.

        Args:
            gradient: like the centre, zero in the padding; finite.
            size: of the step; as a share of the radius where it is a tensor, (B, 1) or
                (B, 1, 1), and in multiples of the scale where it is a number.
        """
        share = not isinstance(size, float)
        if self.norm == math.inf:
            signs = gradient.sign()
            return size * self.extent * signs if share else self._of_units(size * signs)
        direction = steepest(self._of_units(gradient))
        return self._of_units((size * self.radius.float() if share else size) * direction)

    def random(self, names: Sequence[str], key: str, on_edge: bool) -> "torch.Tensor":
        """A random offset from the centre for each utterance, the same in every batch.

        Args:
            names: utterance ids.
            key: seed and purpose.
            on_edge: as large as the budget allows (random signs for norm infinity) instead of
                drawn uniformly from the ball.
        """
        import torch

        # Drawn by NumPy on the CPU, so that the GPU has the same numbers.
        noise = np.zeros(self.centre.shape, dtype=np.float32)
        for row, (name, length) in enumerate(zip(names, self.lengths.tolist(), strict=True)):
            shape = (length, *noise.shape[2:])
            noise[row, :length] = _draw(generator_of(name, key), shape, self.norm, on_edge)
        unit = torch.from_numpy(noise).to(self.centre.device)
        if self.norm == math.inf:
            return self.extent * unit
        return self._of_units(self.radius.float() * unit)

    def exact(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """The result of `nearest`, moved by rounding errors so that it is exactly inside the ball.

        The projection of a step is done in single precision: the sum of signal and perturbation
        is rounded once more. For norm infinity the bounds are exact already.
        """
        if self.norm == math.inf:
            return inputs
        import torch

        # Again, because the projection's last addition may round beyond the range.
        found = inputs.clamp(self.low, self.high)
        scale = 1.0 if self.scale is None else self.scale.cpu().double().numpy()
        for row, length in enumerate(self.lengths.tolist()):
            clean, moved = (x[row, :length].cpu().numpy() for x in (self.centre, found))
            fitted = _fit(clean, moved, float(self.radius[row]), scale)
            found[row, :length] = torch.from_numpy(fitted).to(found.device)
        return found

    def _of_units(self, delta: "torch.Tensor") -> "torch.Tensor":
        return delta if self.scale is None else delta * self.scale


def inside(inputs: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
    """True where a padded batch has an utterance: (B, T), or (B, F, 1) of features (B, F, D)."""
    from espnet_ext.frontend.frames import is_inside

    mask = is_inside(lengths, inputs.size(1))
    return mask.view(*mask.shape, *[1] * (inputs.ndim - 2))


def steepest(gradient: "torch.Tensor") -> "torch.Tensor":
    """Unit vector along the gradient of each utterance (B, ...), zero where it is zero."""
    largest = gradient.abs().flatten(1).amax(dim=1).view(-1, *[1] * (gradient.ndim - 1))
    # Divided first: the squares of very small or large gradients leave single precision.
    scaled = (gradient / largest).where(largest > 0.0, 0.0)
    return scaled / _length(scaled).clamp(min=1e-12)


def _length(delta: "torch.Tensor") -> "torch.Tensor":
    """Euclidean norm of each utterance, (B, 1, ...)."""
    return delta.flatten(1).norm(dim=1).view(-1, *[1] * (delta.ndim - 1))


def _draw(
    generator: np.random.Generator, shape: tuple[int, ...], norm: float, on_edge: bool
) -> np.ndarray:
    """A random point of the unit ball, or of its corners or surface."""
    if norm == math.inf:
        signs = generator.integers(0, 2, shape) * 2.0 - 1.0 if on_edge else None
        return generator.uniform(-1.0, 1.0, shape) if signs is None else signs
    direction = generator.standard_normal(shape)
    # A ball of radius r holds a share r^n of the volume, so this is uniform in the ball; for long
    # waveforms nearly all of it is close to the surface.
    size = 1.0 if on_edge else generator.random() ** (1.0 / direction.size)
    return direction * (size / np.linalg.norm(direction))


def _fit(
    clean: np.ndarray, moved: np.ndarray, radius: float, scale: np.ndarray | float
) -> np.ndarray:
    """`moved` shrunk towards `clean`, both float32, until the difference is within the radius."""
    start = clean.astype(np.float64)
    delta = moved.astype(np.float64) - start
    for attempt in itertools.count():
        fitted = (start + delta).astype(np.float32)
        size = float(np.linalg.norm((fitted.astype(np.float64) - start) / scale))
        if size <= radius:
            return fitted
        # Growing, because what is shaved off may be rounded away again.
        delta *= radius / size * (1.0 - min(1e-7 * 2.0**attempt, 0.5))
    raise AssertionError("unreachable: a zero perturbation fits")
