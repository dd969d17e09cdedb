"""Masked acoustic modelling: which steps are hidden, and how (Liu et al. 2020, section 2.2)."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch

from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import is_inside

CASES = ("utterance", "segment")
ROUNDINGS = ("floor", "round")


class Mask(NamedTuple):
    """What is done to each step of a batch, each (B, S).

    selected: steps to be predicted.
    zeroed: those of them that are set to zero; replaced: those that are overwritten.
    source: for the replaced ones, the step of the same utterance that is put there.
    """

    selected: torch.Tensor
    zeroed: torch.Tensor
    replaced: torch.Tensor
    source: torch.Tensor

    def apply(self, steps: torch.Tensor) -> torch.Tensor:
        """The input of the encoder: `steps` (B, S, D) with the selected ones altered."""
        others = steps.gather(1, self.source.unsqueeze(-1).expand_as(steps))
        altered = torch.where(self.replaced.unsqueeze(-1), others, steps)
        return altered.masked_fill(self.zeroed.unsqueeze(-1), 0.0)


class Masking:
    """Draws a new mask for every batch.

    As in the original: of an utterance of L steps, int(L * fraction // consecutive)
    starts are drawn without replacement from the first L - consecutive - 1 steps, and
    `consecutive` steps from each of them are selected; they may overlap. The selected steps
    are zeroed (80 %), overwritten with steps of the same utterance from a random
    place (10 %), or left as they are (10 %). Utterances that are too short have none.
    (`utility/mam.py` of the official code. That code counts only the start of a
    segment in the loss; here the whole segment counts, as in the paper and in s3prl.)

    A step is `downsample` stacked frames: the paper's C_num of 3 frames with R_factor 3 is
    `consecutive: 1`.

    Args:
        fraction: share of the steps that is selected.
        consecutive: steps of a segment.
        case_by: one draw of the case for an "utterance" (the original) or for a "segment".
        zero: probability of zeroing.
        random: probability of overwriting; the rest is left untouched.
        rounding: how the number of starts is rounded: "floor" (the original) or "round" (later
            s3prl).

    Raises:
        InputError: a probability or size out of range, or an unknown name.

    Example:
        >>> mask = Masking(consecutive=2).draw(torch.tensor([40]), 40)
        >>> int(mask.selected.sum()) in (4, 5, 6)
        True
    """

    def __init__(
        self,
        fraction: float = 0.15,
        consecutive: int = 1,
        case_by: str = "utterance",
        zero: float = 0.8,
        random: float = 0.1,
        rounding: str = "floor",
    ):
        for name, value, known in (("case_by", case_by, CASES), ("rounding", rounding, ROUNDINGS)):
            if value not in known:
                raise InputError(f"masking: {name} must be one of {', '.join(known)}, not {value}")
        if not 0.0 < fraction <= 1.0 or consecutive < 1:
            raise InputError(
                f"masking: fraction {fraction} must be in (0, 1], consecutive {consecutive} >= 1"
            )
        if min(zero, random) < 0.0 or zero + random > 1.0:
            raise InputError(f"masking: zero {zero} and random {random} are no probabilities")
        self.fraction = fraction
        self.consecutive = consecutive
        self.case_by = case_by
        self.zero = zero
        self.random = random
        self.rounding = rounding

    def most(self, size: int) -> int:
        """The largest number of steps that can be selected of an utterance of `size` steps."""
        starts = int(self._starts(torch.tensor([size]))[0])
        return min(size, starts * self.consecutive)

    def draw(
        self,
        lengths: torch.Tensor,
        size: int,
        generators: Sequence[torch.Generator] | None = None,
        zero_only: bool = False,
    ) -> Mask:
        """Draw a mask, on the device of `lengths` and without a transfer to the host.

        Args:
            lengths: (B,), steps of each utterance.
            size: S, steps of the padded batch.
            generators: one of the CPU for each utterance; its mask then depends on nothing
                else but its length. None for PyTorch's own of the device.
            zero_only: no draw of the case, all selected steps are zeroed.

        Returns:
            masks of (B, S).
        """
        # Three numbers in [0, 1) for each step.
        if generators is None:
            numbers = torch.rand(len(lengths), 3, size, device=lengths.device)
        else:
            # Each row is drawn at its own length: the mask must not depend on the padding of its
            # batch.
            drawn = torch.ones(len(lengths), 3, size)
            for row, length, generator in zip(drawn, lengths.tolist(), generators, strict=True):
                row[:, :length] = torch.rand(3, length, generator=generator)
            numbers = drawn.to(lengths.device)
        # The places of the smallest numbers: a draw without replacement, for all at once.
        places = is_inside(self._places(lengths), size)
        # All numbers are below 1, so steps where no segment may start come last. Sorting twice
        # gives ranks.
        rank = numbers[:, 0].masked_fill(~places, 2.0).argsort(dim=1).argsort(dim=1)
        starts = rank < self._starts(lengths).unsqueeze(-1)
        steps = torch.arange(size, device=lengths.device)
        # The last start at or before each step.
        last = torch.where(starts, steps, -1).cummax(dim=1).values
        selected = (last >= 0) & (steps - last < self.consecutive)
        last = last.clamp(min=0)
        # A segment takes the case that was drawn at its start.
        case = numbers[:, 1]
        case = case[:, :1].expand(-1, size) if self.case_by == "utterance" else case.gather(1, last)
        # For a segment that starts at a step, where the segment that replaces it starts.
        choices = (lengths - self.consecutive + 1).clamp(min=1).unsqueeze(-1)
        source = (numbers[:, 2] * choices).long().gather(1, last) + steps - last
        zeroed = selected & ((case < self.zero) | zero_only)
        replaced = selected & ~zeroed & (case < self.zero + self.random)
        return Mask(selected, zeroed, replaced, source.clamp(max=size - 1))

    def _starts(self, lengths: torch.Tensor) -> torch.Tensor:
        # In double precision, as Python computes it in the original: single precision may fall
        # below a whole number that is reached exactly, and lose a start.
        wanted = lengths.double() * self.fraction
        if self.rounding == "round":
            count = (wanted / self.consecutive).round()
        else:
            count = wanted.floor_divide(self.consecutive)
        return torch.minimum(count.long(), self._places(lengths))

    def _places(self, lengths: torch.Tensor) -> torch.Tensor:
        # The original draws from range(L - consecutive - 1), so the last steps are never selected.
        return (lengths - self.consecutive - 1).clamp(min=0)


def utterance_generator(utterance: str, seed: int = 0) -> torch.Generator:
    """A generator that depends on the name of an utterance and the seed only.

    Example:
        >>> a, b = utterance_generator("utt1"), utterance_generator("utt1")
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        True
    """
    # Not `hash`, which Python salts anew in each process.
    return torch.Generator().manual_seed(zlib.crc32(f"{seed} {utterance}".encode()))


def selected_first(selected: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the selected steps in a tensor whose size is known beforehand.

    Indexing with the mask itself would have the host wait for the device.

    Args:
        selected: (B, S).
        most: K, at least the number selected of any utterance.

    Returns:
        indices (B, K), the selected steps first, and which of them are selected (B, K).
    """
    order = selected.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    return order, selected.gather(1, order)
