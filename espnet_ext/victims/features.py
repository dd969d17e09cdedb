"""The size of an epsilon on features, in standard deviations and in decibels."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from espnet_ext.data.files import Record
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded, is_inside

# 10 log10(x) = NEPER * ln(x).
NEPER = 10.0 / math.log(10.0)
"""Decibels of a step of 1 in the natural logarithm of a power."""

# Decibels of a step of 1 in what a front end computes. Cepstra are sums of many of them.
_DECIBELS = {"MelFrontend": NEPER, "DefaultFrontend": NEPER, "DecibelFrontend": 1.0}


@dataclass(frozen=True)
class FeatureSpace:
    """The features that are attacked, as measured on a set of utterances.

    Attributes:
        std: (D,), standard deviation of each dimension over all frames.
        decibels: (D,), decibels of a step of 1, as a mean over the utterances, each of which
            may be normalised by its own deviation; None where features are no logarithms of
            powers.
        static: number of dimensions that are not deltas; these come first.
    """

    std: torch.Tensor
    decibels: torch.Tensor | None
    static: int

    def scale(self, unit: str) -> torch.Tensor | float:
        """Size in the features of an epsilon of 1: (D,), or 1.0 for "raw".

        In decibels all dimensions move equally far; in deviations each moves by its own deviation.

        Raises:
            InputError: unknown unit, or decibels of features that have none.
        """
        if unit == "raw":
            return 1.0
        if unit == "std":
            return self.std
        if unit != "db":
            raise InputError(f"unit must be one of std, db, raw, not '{unit}'")
        if self.decibels is None:
            raise InputError("unit db: these features are no decibels of powers; use std or raw")
        return 1.0 / self.decibels

    def state(self, eps: float, unit: str) -> dict[str, float | None]:
        """An epsilon in every unit, as means over the static dimensions.

        Args:
            eps: of an attack.
            unit: in which it is given.

        Returns:
            `std`, `db` (None where there are none) and `raw`.

        Example:
            >>> space = FeatureSpace(torch.full((80,), 2.0), torch.full((80,), NEPER), 80)
            >>> {k: round(v, 3) for k, v in space.state(0.5, "std").items()}
            {'std': 0.5, 'db': 4.343, 'raw': 1.0}
        """
        radius = (eps * torch.as_tensor(self.scale(unit)) * torch.ones_like(self.std))[
            : self.static
        ]
        decibels = None if self.decibels is None else radius * self.decibels[: self.static]
        return {
            # Deltas are left out, because they are computed from the static dimensions.
            "std": float((radius / self.std[: self.static]).mean()),
            "db": None if decibels is None else float(decibels.mean()),
            "raw": float(radius.mean()),
        }

    def to_json(self) -> Record:
        """The space as JSON, to six digits."""
        decibels = None if self.decibels is None else _rounded(self.decibels)
        return {"std": _rounded(self.std), "decibels": decibels, "static": self.static}

    @classmethod
    def from_json(cls, values: Record) -> "FeatureSpace":
        """The space that `to_json` has written."""
        decibels = values["decibels"]
        return cls(
            torch.tensor(values["std"]),
            None if decibels is None else torch.tensor(decibels),
            values["static"],
        )


def _rounded(values: torch.Tensor) -> list[float]:
    # Six digits: sums over utterances differ in the last ones from machine to machine.
    return [float(f"{value:.6g}") for value in values.tolist()]


@torch.no_grad()
def measure_space(model: torch.nn.Module, batches: Iterable[Padded]) -> FeatureSpace:
    """Measure the features that a countermeasure computes.

    Args:
        model: a `CountermeasureModel` in evaluation mode.
        batches: waveforms (B, T) with their lengths (B,), on the device of the model.

    Raises:
        InputError: a dimension is constant.
    """
    total = _Sums()
    for speech, lengths in batches:
        # Decibels are known in front of the normalisation, and the attack is behind it.
        before, frames = model.frontend(speech, lengths)
        after, frames = model.features(speech, lengths)
        total.add(before, after, frames)
    std = total.std()
    # A deviation of 0 would be a budget of 0 in this dimension, and a division by 0 in `state`.
    if not (std > 0.0).all():
        dims = (std <= 0.0).nonzero().flatten().tolist()
        raise InputError(
            f"dimensions {dims} of the features are constant over all utterances; an epsilon in "
            "standard deviations has no meaning for them, use unit: raw"
        )
    factor = _DECIBELS.get(type(model.frontend).__name__)
    decibels = None if factor is None else factor * total.ratio()
    return FeatureSpace(std, decibels, static_dimensions(model.frontend))


def static_dimensions(frontend: torch.nn.Module) -> int:
    """Number of dimensions that are not deltas."""
    size = frontend.output_size()
    # Deltas stand behind the static dimensions, as many as these.
    return size // 2 if getattr(frontend, "delta_window", 0) else size


class _Sums:
    """Running sums over utterances, in double precision."""

    def __init__(self) -> None:
        # Numbers first: the sums take shape and device of the first batch.
        self.frames = self.first = self.second = self.ratios = self.utterances = 0.0

    def add(self, before: torch.Tensor, after: torch.Tensor, lengths: torch.Tensor) -> None:
        """Add a batch (B, F, D), before and after normalisation."""
        inside = is_inside(lengths, after.size(1)).unsqueeze(-1).double()
        values = after.double() * inside
        self.frames = self.frames + inside.sum()
        self.first = self.first + values.sum(dim=(0, 1))
        self.second = self.second + values.square().sum(dim=(0, 1))
        # Normalisation divides each utterance by its own deviation, which the two sides reveal;
        # without it the ratio is 1.
        ratio = _deviation(before.double(), inside) / _deviation(after.double(), inside)
        # An utterance in which a dimension stands still says nothing about its normalisation.
        known = ratio.isfinite() & (ratio > 0.0)
        self.ratios = self.ratios + torch.where(known, ratio, 0.0).sum(dim=0)
        self.utterances = self.utterances + known.sum(dim=0)

    def std(self) -> torch.Tensor:
        """(D,), over all frames."""
        mean = torch.as_tensor(self.first / self.frames)
        # Rounding can make the variance of a constant dimension negative.
        variance = torch.as_tensor(self.second / self.frames) - mean.square()
        return variance.clamp(min=0.0).sqrt().float().cpu()

    def ratio(self) -> torch.Tensor:
        """(D,), deviation before normalisation over that after it, a mean over utterances."""
        return torch.as_tensor(self.ratios / self.utterances).float().cpu()


def _deviation(feats: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each utterance: (B, F, D) to (B, D)."""
    count = inside.sum(dim=1)
    mean = (feats * inside).sum(dim=1) / count
    centred = (feats - mean.unsqueeze(1)) * inside
    return (centred.square().sum(dim=1) / count).sqrt()
