"""A loaded model under attack: what every kind of model offers, and what most kinds share."""

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
    from espnet_ext.victims.countermeasure import CountingClassifier  # which imports this module

Rows: TypeAlias = torch.Tensor | slice
# A slice, not indices: it gives a view, where indices would copy the whole batch in every step.
ALL = slice(None)
Goal: TypeAlias = Any
"""What an attack must reach or leave: a transcript, a class; each kind of model has its own."""

Objective = Callable[[torch.Tensor, Rows], torch.Tensor]
"""What an attack increases: from inputs (B', ...) of some rows of a batch to values (B',)."""


@dataclass
class Batch:
    """Utterances that are attacked together, on the device.

    Attributes:
        names: utterance ids; they seed random numbers and appear in messages.
        inputs: what is attacked, padded: waveforms (B, T) or features (B, F, D), float32.
        lengths: samples or frames of each (B,).
        clean_gradients: gradient and values of an objective at `inputs`, by model and name of the
            objective; attacks of every size begin with them.
    """

    names: list[str]
    inputs: torch.Tensor
    lengths: torch.Tensor
    # By keyword alone, so that subclasses can add fields without a default.
    clean_gradients: dict[tuple[object, str], tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict, repr=False, kw_only=True
    )

    def arrays(self, inputs: torch.Tensor) -> list[np.ndarray]:
        """Inputs of this batch on the host, without padding."""
        return unpad(inputs, self.lengths)


B = TypeVar("B", bound=Batch)


class Victim(Generic[B]):
    """Base of models under attack, which may also be estimators of ART.

    A subclass defines `batch`, `goal_of`, `objective`, `reached` and `observe`. The defaults of all
    other methods suit a model of whole waveforms in [-1, 1]; a kind of model that differs
    overrides them.
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
        """Names of losses that `objective` accepts; the first is the default."""
        return ()

    @property
    def units(self) -> tuple[str, ...]:
        """Units of budgets that this kind of model can be given, see `Budget`."""
        return WAVEFORM_UNITS

    @property
    def repeatable(self) -> bool:
        """Whether equal inputs always have equal gradients."""
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
        """A batch of inputs and goals; without goals, the model's own answers are to be left."""
        raise NotImplementedError

    def speech_batch(
        self, names: Sequence[str], waves: Sequence[np.ndarray], goals: Sequence[Goal]
    ) -> B:
        """A batch of waveforms (T,), or of their features where features are attacked."""
        return self.batch(names, waves, goals)

    def padded(self, arrays: Sequence[np.ndarray]) -> Padded:
        """Inputs (T,) or (F, D) as a padded batch on the device, and their lengths (B,).

        Raises:
            InputError: see `espnet_ext.asr.waveforms.check_floats`.
        """
        check_floats(arrays, "input")
        return pad([array.astype(np.float32, copy=False) for array in arrays], self.device)

    def plan(self, samples: Sequence[int], batch_size: int, overhead: float) -> list[list[int]]:
        """Batches of utterances with these lengths, as indices; `overhead` in seconds of audio."""
        return plan_batches(samples, batch_size, overhead * self.sample_rate)

    def goal_of(self, labels: Mapping[str, str | None]) -> Goal:
        """The goal of an utterance, from its labels, as `batch` takes it."""
        raise NotImplementedError

    def problem(self, samples: int, goal: Goal) -> str | None:
        """Why an utterance cannot be attacked; None where it can."""
        return None

    def calibrate(self, waves: Iterable[np.ndarray], eps: Sequence[float], unit: str) -> Record:
        """Convert radii into other units, by measurement, for the record of the attack; JSON."""
        return {}

    def calibrated(self, record: Record) -> None:
        """Use what `calibrate` has measured, as the record of the attack holds it."""

    def check_observer(self, observer: "Victim[B]", name: str, batch: B) -> None:
        """Refuse a model that would see something else than what was attacked.

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
        """Size in the inputs of a budget of 1 in a unit: (D,), or None for 1."""
        return None

    def objective(self, batch: B, loss: str = "") -> Objective:
        """What the attacker increases; call it inside `attack_mode`."""
        raise NotImplementedError

    def reached(self, batch: B, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """Whether the goal is reached, by the model's decisions: (B',) bool."""
        raise NotImplementedError

    @property
    def graded(self) -> bool:
        """Whether an answer can go further than the goal (`reached`) asks for."""
        return True

    def progress(self, batch: B, inputs: torch.Tensor, rows: Rows) -> torch.Tensor:
        """How far the model's answers are towards the goal, larger for further: (B',).

        Call it inside `attack_mode`. 0 where the goal is reached, unless answers are `graded`.
        """
        raise NotImplementedError

    def observe(self, batch: B, inputs: torch.Tensor) -> list[Row]:
        """The model's answer to each utterance, its `loss`, and whether the goal is `reached`."""
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
            shape: shape of one input.
            scale: size in the inputs of an eps of 1.
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
        # `torch.autograd.grad` would raise an error here.
        if not values.requires_grad:
            return torch.zeros_like(inputs), values
        # No utterance sees another, so each row of the sum's gradient is that of its own value.
        (gradient,) = torch.autograd.grad(values.sum(), inputs, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient, values.detach()


def unusable(gradient: torch.Tensor) -> torch.Tensor:
    """For each utterance of (B, ...) whether its gradient is zero, or not finite somewhere: (B,).

    Example:
        >>> unusable(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, float("nan")]])).tolist()
        [True, False, True]
    """
    # The largest value alone tells both: it is 0 or not finite.
    largest = gradient.abs().flatten(1).amax(dim=1)  # NaN where there is one
    return ~(largest.isfinite() & (largest > 0.0))


def finite(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient with its usable values: NaN becomes zero, infinity a large number."""
    # Large, but its sum over a minute of samples, as momentum takes it, is finite in float32.
    return gradient.nan_to_num(nan=0.0, posinf=1e30, neginf=-1e30)
