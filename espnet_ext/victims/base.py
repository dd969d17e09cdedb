"""A loaded model as an attack sees it: what every kind of model offers, and what most share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch

from espnet_ext.asr.batching import BATCH_OVERHEAD, plan_batches
from espnet_ext.asr.waveforms import check_floats, pad, unpad
from espnet_ext.data.attack_log import Row
from espnet_ext.data.files import Record
from espnet_ext.errors import InputError
from espnet_ext.frontend.frames import Padded
from espnet_ext.metrics.perturbation import Perturbation, measure
from espnet_ext.precision import frozen
from espnet_ext.victims.options import WAVEFORM_UNITS

if TYPE_CHECKING:
    from espnet_ext.victims.countermeasure import CountingClassifier

Rows: TypeAlias = torch.Tensor | slice
ALL = slice(None)
Goal: TypeAlias = Any
"""What is to be reached or left: a transcript, a class; each kind of model has its own."""

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
        return unpad(inputs, self.lengths)


B = TypeVar("B", bound=Batch)


class Victim(Generic[B]):
    """Base of models under attack, which may also be estimators of ART.

    A subclass has `batch`, `goal_of`, `objective`, `reached` and `observe`; what else is here is
    right for a model of whole waveforms in [-1, 1], and replaced where a kind of model differs.
    CONTRIBUTING.md has an example.

    Attributes:
        kind: of model, as settings and logs name it.
        module: the model itself; its parameters say where it is.
        sample_rate: of speech, in Hz.
        surrogate: another model of this kind, from which the worst case transfers to this one.
    """

    kind: str
    module: torch.nn.Module
    sample_rate: int
    surrogate: "Victim[B] | None" = None

    @property
    def losses(self) -> tuple[str, ...]:
        """Names that `objective` knows; the first is the default."""
        return ()

    @property
    def units(self) -> tuple[str, ...]:
        """Units of budgets that make sense, see `Budget`."""
        return WAVEFORM_UNITS

    @property
    def repeatable(self) -> bool:
        """Whether equal inputs have equal gradients."""
        return True

    @property
    def batch_overhead(self) -> float:
        """Seconds of audio that cost as much as one more batch, where settings do not say it."""
        return BATCH_OVERHEAD

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.module.parameters()).device

    @property
    def clip_values(self) -> tuple[float, float] | None:
        """Range of inputs."""
        return (-1.0, 1.0)

    def attack_mode(self) -> AbstractContextManager[object]:
        """Frozen parameters, the mode of the attack; all as before when the block ends."""
        return frozen(self.module)

    def batch(
        self,
        names: Sequence[str],
        arrays: Sequence[np.ndarray],
        goals: Sequence[Goal] | None = None,
    ) -> B:
        """A batch of inputs and of what is to be reached or left (None: what the model answers)."""
        raise NotImplementedError

    def speech_batch(
        self, names: Sequence[str], waves: Sequence[np.ndarray], goals: Sequence[Goal]
    ) -> B:
        """A batch of what is attacked of waveforms (T,): themselves, or their features."""
        return self.batch(names, waves, goals)

    def padded(self, arrays: Sequence[np.ndarray]) -> Padded:
        """Inputs (T,) or (F, D) as a padded batch on the device, and their lengths (B,).

        Raises:
            InputError: see `espnet_ext.asr.waveforms.check_floats`.
        """
        check_floats(arrays, "input")
        return pad([array.astype(np.float32, copy=False) for array in arrays], self.device)

    def plan(self, samples: Sequence[int], batch_size: int, overhead: float) -> list[list[int]]:
        """Batches of utterances of so many samples, as indices; `overhead` in seconds of audio."""
        return plan_batches(samples, batch_size, overhead * self.sample_rate)

    def goal_of(self, labels: Mapping[str, str | None]) -> Goal:
        """What is to be reached or left, from the labels of an utterance, as `batch` takes it."""
        raise NotImplementedError

    def problem(self, samples: int, goal: Goal) -> str | None:
        """Why an utterance cannot be attacked; None where it can."""
        return None

    def calibrate(self, waves: Iterable[np.ndarray], eps: Sequence[float], unit: str) -> Record:
        """Measure what radii in a unit mean in others, for the record of the attack; JSON."""
        return {}

    def calibrated(self, record: Record) -> None:
        """Take over what `calibrate` has measured, to the last digit."""

    def check_observer(self, observer: "Victim[B]", name: str, batch: B) -> None:
        """Refuse a model that would be asked about something else than was attacked.

        Raises:
            InputError: says why.
        """
        if observer.sample_rate != self.sample_rate:
            raise InputError(
                f"target {name} takes {observer.sample_rate} Hz, the source {self.sample_rate} Hz"
            )

    def adopt(self, batch: B) -> B:
        """A batch of another model of this kind, as this one needs it."""
        return batch

    def scale(self, unit: str) -> torch.Tensor | None:
        """What a budget of 1 in a unit is in the inputs: (D,), or None for 1."""
        return None

    def objective(self, batch: B, loss: str = "") -> Objective:
        """What the attacker increases; call it inside `attack_mode`."""
        raise NotImplementedError

    def reached(self, batch: B, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Whether the attacker has what he wants, by the model's decisions: (B',) bool."""
        raise NotImplementedError

    @property
    def graded(self) -> bool:
        """Whether answers can please the attacker more than his goal (`reached`) asks for."""
        return True

    def progress(self, batch: B, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """How far the model's answers are where the attacker wants them, more is further: (B',).

        Call it inside `attack_mode`. 0 where the goal is reached, unless answers are `graded`.
        """
        raise NotImplementedError

    def observe(self, batch: B, inputs: torch.Tensor) -> list[Row]:
        """What the model answers to each, its `loss`, and whether the goal is `reached`."""
        raise NotImplementedError

    def measure(self, batch: B, inputs: torch.Tensor) -> list[Perturbation]:
        """Sizes of perturbations on true samples or frames."""
        pairs = zip(batch.arrays(batch.inputs), batch.arrays(inputs), strict=True)
        return [measure(clean, moved) for clean, moved in pairs]


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


def gradient_of(
    objective: Objective, inputs: torch.Tensor, rows: Rows = ALL
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of each utterance's objective, and the values (B,).

    Zero where the model lets none through: an attack reports that, and does not fail.
    """
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        values = objective(inputs, rows)
        if not values.requires_grad:
            return torch.zeros_like(inputs), values
        (gradient,) = torch.autograd.grad(values.sum(), inputs, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient, values.detach()


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
