"""The YAML file of an attack on countermeasures."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from espnet_ext.attack.options import BALL, COUNT, AttackOptions, hint
from espnet_ext.errors import InputError

if TYPE_CHECKING:
    from espnet_ext.attack.countermeasure import PyTorchCountermeasure
    from espnet_ext.attack.linf import LinfAttack

METHODS = ("fgsm", "pgd", "noise", "upstream", "apgd", "square")
CHOICES = {
    "space": ("features", "waveform"),
    "unit": ("std", "db", "raw"),
    "start": ("random", "clean", "fgsm"),
    "loss": ("cross_entropy", "margin"),
}


class Condition(NamedTuple):
    """One method with one epsilon.

    Attributes:
        method: of `METHODS`.
        eps: in the unit of the settings.
    """

    method: str
    eps: float

    @property
    def tag(self) -> str:
        """Name of its directory.

        Example:
            >>> Condition("pgd", 0.1).tag
            'pgd/eps0.1'
        """
        return f"{self.method}/eps{self.eps:g}"


@dataclasses.dataclass(frozen=True)
class CountermeasureAttackSettings(AttackOptions):
    """Everything that decides the result of an attack on given models and utterances.

    Attributes:
        methods: fgsm; pgd; noise, random signs; upstream, PGD on the representations of the
            source's defence (or of its front end, in the space of waveforms); apgd and square
            of ART.
        eps: radii, each a condition of its own for each method; scores without attack come by
            themselves.
        unit: of eps: std, multiples of each dimension's standard deviation; db; raw, the
            unit of the attacked features, or full scale for waveforms.
        space: features or waveform.
        steps: of PGD, APGD and the attack on the upstream.
        alpha: length of a step of PGD as a fraction of eps; APGD chooses its own.
        start: of PGD: random, clean or fgsm, see `LinfPGD`; on the upstream it is always random.
        restarts: of PGD and APGD.
        best: keep the strongest iterate, not the last.
        loss: cross_entropy or margin, of fgsm and pgd; ART's attacks have their own.
        queries: of the square attack.
        train_mode: take gradients in training mode, as the code of the paper's attack did.
        through_filters: straight through smoothing filters of the source.
        frames: cut or repeat the features of each utterance to this number of frames before
            they are attacked, as the original did with 600; 0 leaves them as they are.
        keep: write the adversarial features or waveforms (ark/scp).
        seed: of all random numbers.
        batch_size: most utterances in a batch.
        batch_overhead: seconds of audio that cost as much as one more batch.
        measured: utterances, evenly spread, on which standard deviations are measured.
    """

    methods: tuple[str, ...] = ("fgsm", "pgd", "noise")
    eps: tuple[float, ...] = ()
    unit: str = "std"
    space: str = "features"
    steps: int = 10
    alpha: float = 0.25
    start: str = "random"
    restarts: int = 1
    best: bool = True
    loss: str = "cross_entropy"
    queries: int = 1000
    train_mode: bool = False
    through_filters: bool = False
    frames: int = 0
    keep: bool = False
    seed: int = 0
    batch_size: int = 16
    batch_overhead: float = 1.5
    measured: int = 200

    item_types: ClassVar[dict[str, type]] = {"methods": str}
    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "eps": BALL,
        "alpha": BALL,
        "frames": (0, 100_000),
        "batch_overhead": (0.0, 1e6),
        **dict.fromkeys(("steps", "restarts", "queries"), COUNT),
        **dict.fromkeys(("batch_size", "measured"), (1, math.inf)),
    }

    def _check(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise InputError(f"unknown method '{method}'{hint(method, METHODS)}")
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                raise InputError(
                    f"{key} must be one of {', '.join(choices)}, not '{getattr(self, key)}'"
                )
        self._check_conditions()
        self._check_combinations()

    def _check_conditions(self) -> None:
        if not self.eps or not self.methods:
            raise InputError("nothing to do: give eps and methods as lists, e.g. eps: [0.1, 1.0]")
        tags = [condition.tag for condition in self.conditions()]
        if len(set(tags)) < len(tags):
            raise InputError(
                f"methods and eps must differ, eps in their first six digits: {', '.join(tags)}"
            )

    def _check_combinations(self) -> None:
        if self.start != "random" and self.restarts > 1:
            raise InputError("restarts need start: random")
        if self.space == "waveform":
            if self.unit != "raw":
                raise InputError("space: waveform has unit: raw, with full scale 1")
            if "square" in self.methods or self.frames:
                raise InputError("method square and frames are for space: features")

    def conditions(self) -> list[Condition]:
        """Every method with every eps."""
        return [Condition(method, eps) for method in self.methods for eps in self.eps]

    def passes(self, condition: Condition | None) -> int:
        """Passes through the source that a condition takes, about; None is no attack."""
        if condition is None or condition.method in ("noise", "fgsm"):
            return 1
        return self.queries if condition.method == "square" else self.steps * self.restarts

    def attack(
        self, estimator: "PyTorchCountermeasure", condition: Condition, scale: Any = 1.0
    ) -> "LinfAttack":
        """The attack of one condition.

        Args:
            estimator: the source.
            condition: of `conditions`.
            scale: what an eps of 1 is, see `espnet_ext.attack.units.FeatureSpace.scale`.
        """
        # PyTorch and ART are imported when they are used: a bad file is told in no time.
        from espnet_ext.attack.art_attacks import AutoPGD, Square
        from espnet_ext.attack.linf import REPRESENTATION, LinfPGD, RandomSigns

        given: dict[str, Any] = {"scale": scale, "seed": self.seed, "batch_size": self.batch_size}
        method, eps = condition
        if method == "noise":
            return RandomSigns(estimator, eps, **given)
        if method == "fgsm":
            return LinfPGD.fgsm(estimator, eps, loss=self.loss, **given)
        if method == "apgd":
            return AutoPGD(estimator, eps, steps=self.steps, restarts=self.restarts, **given)
        if method == "square":
            return Square(estimator, eps, queries=self.queries, **given)
        given |= {k: getattr(self, k) for k in ("steps", "alpha", "restarts", "best")}
        if method == "upstream":
            return LinfPGD(estimator, eps, loss=REPRESENTATION, **given)
        return LinfPGD(estimator, eps, loss=self.loss, start=self.start, **given)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON knows them."""
        return dataclasses.asdict(self)
