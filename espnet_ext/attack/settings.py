"""The YAML file of an attack."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

from espnet_ext.attack.budget import Budget
from espnet_ext.attack.options import BALL, COUNT, AttackOptions, number
from espnet_ext.errors import InputError

if TYPE_CHECKING:
    from espnet_ext.attack.estimator import PyTorchESPnet
    from espnet_ext.attack.pgd import ProjectedGradientDescentASR


@dataclasses.dataclass(frozen=True)
class AttackSettings(AttackOptions):
    """Everything that decides the result of an attack on given models and utterances.

    Each value of `eps` and each of `snr` is a budget of its own. The other fields are
    those of `ProjectedGradientDescentASR` and `PyTorchESPnet`. `loss_ctc_weight` is the CTC
    weight of the loss that the attacker minimises: None for that of inference, "training" for
    that of the model's training, or a number; inference decides on the transcript in any case.
    """

    norm: float = 2
    eps: tuple[float, ...] = ()
    snr: tuple[float, ...] = ()
    eps_step: float = 0.05
    steps: tuple[int, ...] = (500, 1000, 1500, 2000)
    targeted: bool = True
    decay: float = 0.0
    random_start: bool = False
    stop_on_success: bool = False
    check_every: int = 10
    seed: int = 0
    batch_size: int = 20
    batch_overhead: float = 1.5
    autocast: str | None = None
    loss_ctc_weight: float | str | None = None

    item_types: ClassVar[dict[str, type]] = {"steps": int}
    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "eps": BALL,
        "snr": (-100.0, 200.0),
        "eps_step": BALL,
        "steps": COUNT,
        "decay": (0.0, 10.0),
        "check_every": (1, math.inf),
        "batch_size": (1, math.inf),
        "batch_overhead": (0.0, 1e6),
        "loss_ctc_weight": (0.0, 1.0),
    }

    def _check(self) -> None:
        if not self.steps:
            raise InputError("no number of steps: give steps as a list, e.g. steps: [100]")
        if self.autocast not in (None, "bfloat16"):
            raise InputError(f"autocast must be bfloat16 or null, not {self.autocast!r}")
        tags = [budget.tag for budget in self.budgets()]
        if not tags:
            raise InputError("no budget: give eps, snr or both as lists, e.g. eps: [2.0]")
        if len(set(tags)) < len(tags):
            raise InputError(f"budgets must differ in their first six digits: {', '.join(tags)}")

    def budgets(self) -> list[Budget]:
        """One budget for each value of `eps` and `snr`."""
        radii = [Budget(self.norm, eps=eps) for eps in self.eps]
        return radii + [Budget(self.norm, snr=snr) for snr in self.snr]

    def attack(self, estimator: "PyTorchESPnet", budget: Budget) -> "ProjectedGradientDescentASR":
        """The attack on `estimator` with one of the budgets."""
        # PyTorch and ART are imported when they are used: a bad file is told in no time.
        from espnet_ext.attack.pgd import ProjectedGradientDescentASR

        options = dataclasses.asdict(self)
        for key in ("eps", "snr", "autocast", "loss_ctc_weight"):
            del options[key]
        return ProjectedGradientDescentASR(estimator, eps=budget.eps, snr=budget.snr, **options)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON knows them."""
        values = dataclasses.asdict(self)
        values["norm"] = "inf" if self.norm == math.inf else 2
        if self.loss_ctc_weight is None:
            del values["loss_ctc_weight"]  # attacks begun before there was a choice can go on
        return values

    @classmethod
    def _typed(cls, key: str, value: Any, default: Any) -> Any:
        if key == "norm":
            if str(value) not in ("2", "2.0", "inf", ".inf"):
                raise InputError(f"norm must be 2 or inf, not {value}")
            return float(str(value).removeprefix("."))
        if key == "autocast" or (key == "loss_ctc_weight" and value in (None, "training")):
            return value
        if key == "loss_ctc_weight":
            return number(key, value, float)
        return super()._typed(key, value, default)
