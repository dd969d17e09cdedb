"""The options of each kind of model under attack: its own YAML keys."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

from espnet_ext.data.options import Options, number
from espnet_ext.data.registry import Registry
from espnet_ext.errors import InputError

GOALS = ("transcript", "not_reference", "silence")
# Names of goals and losses have their home here, where nothing imports PyTorch: settings are read
# and checked without it.
_, NOT_REFERENCE, SILENCE = GOALS
REPRESENTATION, SCORE = "representation", "score"
TANDEM_LOSSES = TANDEM, SPEAKER, COUNTERMEASURE = ("tandem", "speaker", "countermeasure")
COUNTERMEASURE_LOSSES = ("cross_entropy", "margin", SCORE, REPRESENTATION)
WAVEFORM_UNITS = ("raw", "snr")
FEATURE_UNITS = ("raw", "std", "db")

VICTIM_OPTIONS: Registry[type["VictimOptions"]] = Registry(
    "kind of model", "espnet_ext.victims", "espnet_ext.victims"
)
"""Options by kind of model; those of `espnet_ext.victims.<kind>` are imported when asked for."""


@dataclasses.dataclass(frozen=True)
class VictimOptions(Options):
    """Base of the options of a kind of model; a subclass registers itself under its `kind`.

    Attributes:
        kind: of model.
        defaults: defaults of this kind for keys that every kind has.
        losses: losses that attacks on some model of this kind can increase.
    """

    kind: ClassVar[str]
    defaults: ClassVar[Mapping[str, object]] = {}
    losses: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        VICTIM_OPTIONS.add(cls.kind, cls)

    @property
    def units(self) -> tuple[str, ...]:
        """Units of budgets for this kind of model, see `espnet_ext.attack.budget.Budget`."""
        return WAVEFORM_UNITS


@dataclasses.dataclass(frozen=True)
class RecognizerOptions(VictimOptions):
    """Options of a speech recogniser, see `espnet_ext.victims.recognizer.PyTorchESPnet`.

    Attributes:
        goal: transcript, the model must write the target; not_reference, it must not write the
            reference; or silence, it must write nothing.
        autocast: bfloat16 for gradients in mixed precision, or null.
        loss_ctc_weight: CTC weight of the loss that the attacker minimises: null for that of
            inference, training for that of the model's training, or a number; inference decides
            on the transcript in any case.
    """

    kind: ClassVar[str] = "asr"
    defaults: ClassVar[Mapping[str, object]] = {"norm": 2, "batch_size": 20, "keep": True}
    losses: ClassVar[tuple[str, ...]] = ("hybrid", "ctc", "attention")

    goal: str = "transcript"
    autocast: str | None = None
    loss_ctc_weight: float | str | None = None

    limits: ClassVar[dict[str, tuple[float, float]]] = {"loss_ctc_weight": (0.0, 1.0)}

    def _check(self) -> None:
        if self.goal not in GOALS:
            raise InputError(
                f"goal must be {', '.join(GOALS[:-1])} or {GOALS[-1]}, not '{self.goal}'"
            )
        if self.autocast not in (None, "bfloat16"):
            raise InputError(f"autocast must be bfloat16 or null, not {self.autocast!r}")

    @classmethod
    def _typed(cls, key: str, value: object, default: object) -> object:
        if key == "autocast" or (key == "loss_ctc_weight" and value in (None, "training")):
            return value
        if key == "loss_ctc_weight":
            # The message of `number` would not name the two words that are allowed.
            with contextlib.suppress(InputError):
                return number(key, value, float)
            raise InputError(f"{key} must be a number, training or null, not {value!r}")
        return super()._typed(key, value, default)


@dataclasses.dataclass(frozen=True)
class CountermeasureOptions(VictimOptions):
    """Options of a countermeasure, see `espnet_ext.victims.countermeasure`.

    Attributes:
        space: what is attacked: features or waveform.
        train_mode: take gradients in training mode, as the code of the paper's attack did.
        through_filters: straight through smoothing filters of the source.
        frames: cut or repeat the features of each utterance to this number of frames before
            they are attacked, as the original did with 600; 0 leaves them as they are.
        measured: utterances, evenly spread, on which standard deviations are measured.
        threshold: scores above it are answered "bona fide"; it decides on the success of attacks
            that stop there or keep the strongest; null for the larger logit.
    """

    kind: ClassVar[str] = "cm"
    defaults: ClassVar[Mapping[str, object]] = {"norm": "inf", "unit": "std", "batch_size": 16}
    losses: ClassVar[tuple[str, ...]] = COUNTERMEASURE_LOSSES

    space: str = "features"
    train_mode: bool = False
    through_filters: bool = False
    frames: int = 0
    measured: int = 200
    threshold: float | None = None

    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "frames": (0, 100_000),
        "measured": (1, math.inf),
    }

    @property
    def units(self) -> tuple[str, ...]:
        """See `VictimOptions.units`."""
        return WAVEFORM_UNITS if self.space == "waveform" else FEATURE_UNITS

    def _check(self) -> None:
        if self.space not in ("features", "waveform"):
            raise InputError(f"space must be one of features, waveform, not '{self.space}'")
        # Waveforms are attacked whole; the original cut features alone.
        if self.space == "waveform" and self.frames:
            raise InputError("frames are for space: features")
