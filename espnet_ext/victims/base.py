"""A loaded model as an attack sees it: what every kind of model must offer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch

from espnet_ext.metrics.perturbation import Perturbation

if TYPE_CHECKING:
    from espnet_ext.victims.countermeasure import CountingClassifier

Rows: TypeAlias = torch.Tensor | slice
ALL = slice(None)

Objective = Callable[[torch.Tensor, Rows], torch.Tensor]
"""What an attacker wants more of: inputs (B', ...) of some rows of a batch to values (B',)."""


@dataclass
class Batch:
    """Utterances that are attacked together, on the device.

    Attributes:
        names: utterance ids; they seed random numbers and stand in messages.
        inputs: what is attacked, padded: waveforms (B, T) or features (B, F, D), float32.
        lengths: samples or frames of each (B,).
        clean_gradients: gradient and values of an objective at `inputs`, by model and objective:
            attacks of every size begin with the same.
    """

    names: list[str]
    inputs: torch.Tensor
    lengths: torch.Tensor
    clean_gradients: dict[tuple[object, str], tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict, repr=False, kw_only=True
    )

    def arrays(self, inputs: torch.Tensor) -> list[np.ndarray]:
        """Inputs of this batch on the host, without padding."""
        rows = inputs.detach().cpu().numpy()
        return [row[:n].copy() for row, n in zip(rows, self.lengths.tolist(), strict=True)]


B = TypeVar("B", bound=Batch)


class Victim(Protocol[B]):
    """A model under attack; also an estimator of the Adversarial Robustness Toolbox.

    Attributes:
        kind: of model, as settings and logs name it.
    """

    kind: str

    @property
    def losses(self) -> tuple[str, ...]:
        """Names that `objective` knows; the first is the default."""

    @property
    def units(self) -> tuple[str, ...]:
        """Units of budgets that make sense, see `Budget`."""

    @property
    def repeatable(self) -> bool:
        """Whether equal inputs have equal gradients."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""

    @property
    def clip_values(self) -> tuple[float, float] | None:
        """Range of inputs."""

    @property
    def sample_rate(self) -> int:
        """Of speech, in Hz."""

    def attack_mode(self) -> AbstractContextManager[None]:
        """Frozen parameters, the mode of the attack; all as before when the block ends."""

    def batch(
        self, names: Sequence[str], arrays: Sequence[np.ndarray], goals: Sequence[Any] | None = None
    ) -> B:
        """A batch of inputs and of what is to be reached or left (None: what the model answers)."""

    def speech_batch(
        self, names: Sequence[str], waves: Sequence[np.ndarray], goals: Sequence[Any]
    ) -> B:
        """A batch of what is attacked of waveforms (T,): themselves, or their features."""

    def plan(self, samples: Sequence[int], batch_size: int, overhead: float) -> list[list[int]]:
        """Batches of utterances of so many samples, as indices; `overhead` in seconds of audio."""

    def goal_of(self, labels: Mapping[str, str | None]) -> Any:
        """What is to be reached or left, from the labels of an utterance, as `batch` takes it."""

    def problem(self, samples: int, goal: Any) -> str | None:
        """Why an utterance cannot be attacked; None where it can."""

    def calibrate(
        self, waves: Iterable[np.ndarray], eps: Sequence[float], unit: str
    ) -> dict[str, Any]:
        """Measure what radii in a unit mean in others, for the record of the attack; JSON."""

    def calibrated(self, record: Mapping[str, Any]) -> None:
        """Take over what `calibrate` has measured, to the last digit."""

    def check_observer(self, observer: "Victim[B]", name: str, batch: B) -> None:
        """Refuse a model that would be asked about something else than was attacked.

        Raises:
            InputError: says why.
        """

    def adopt(self, batch: B) -> B:
        """A batch of another model of this kind, as this one needs it."""

    def scale(self, unit: str) -> torch.Tensor | None:
        """What a budget of 1 in a unit is in the inputs: (D,), or None for 1."""

    def objective(self, batch: B, loss: str) -> Objective:
        """What the attacker increases; call it inside `attack_mode`."""

    def reached(self, batch: B, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Whether the attacker has what he wants, by the model's decisions: (B',) bool."""

    def observe(self, batch: B, inputs: torch.Tensor) -> list[dict[str, Any]]:
        """What the model answers to each, its `loss`, and whether the goal is `reached`."""

    def measure(self, batch: B, inputs: torch.Tensor) -> list[Perturbation]:
        """Sizes of perturbations on true samples or frames."""


@runtime_checkable
class Classifies(Protocol):
    """A victim that can be a classifier of the Adversarial Robustness Toolbox."""

    def classifier(
        self, batch: Any, rows: list[int], shape: tuple[int, ...], scale: torch.Tensor | None
    ) -> "CountingClassifier":
        """The model for one attack of ART on inputs of one length.

        Args:
            batch: of this victim.
            rows: the utterances of it that are attacked.
            shape: of one input.
            scale: what an eps of 1 is.
        """


def unusable(gradient: torch.Tensor) -> torch.Tensor:
    """For each utterance of (B, ...) whether its gradient is zero, or not finite somewhere: (B,).

    Example:
        >>> unusable(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, float("nan")]])).tolist()
        [True, False, True]
    """
    largest = gradient.abs().flatten(1).amax(dim=1)  # NaN where there is one
    return ~(largest.isfinite() & (largest > 0.0))


def finite(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient with what is usable of it: zero for NaN, and a number for infinity."""
    return gradient.nan_to_num(nan=0.0, posinf=1e30, neginf=-1e30)
