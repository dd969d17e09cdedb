"""The steps that all attacks of many steps have in common."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods.base import Method
from espnet_ext.data.options import BALL, COUNT
from espnet_ext.errors import InputError
from espnet_ext.victims.options import REPRESENTATION

if TYPE_CHECKING:
    import torch

    from espnet_ext.attack.budget import Ball
    from espnet_ext.attack.engine import State
    from espnet_ext.victims.base import B, Objective, Rows, Victim

LONG = 0.1
"""Share of the radius above which steps find less, measured on recognisers: 50 steps, 41 dB."""

CHOICES = {
    "schedule": ("constant", "cosine", "halving"),
    "start": ("clean", "random", "fgsm"),
}


@dataclasses.dataclass(frozen=True)
class Steps(Method):
    """What attacks of many steps have in common; `espnet_ext.attack.engine` takes the steps.

    Attributes:
        steps: numbers of steps whose inputs are kept; the last one is the number of steps.
        eps_step: length of a step in the unit of the budget, always the same; null to use `alpha`.
        alpha: length of a step as a fraction of each utterance's own radius.
        schedule: of alpha: constant; cosine, down to zero at the last step, so that what is kept of
            fewer steps is no attack of so many; halving, where an utterance makes no progress, as
            Auto-PGD does.
        decay: of the accumulated gradient (Dong et al. 2018); 0 for plain PGD.
        restarts: from other random points.
        best: keep the strongest iterate of all steps and restarts, not the last.
    """

    steps: tuple[int, ...] = (100,)
    eps_step: float | None = None
    alpha: float = 0.1
    schedule: str = "cosine"
    decay: float = 0.0
    restarts: int = 1
    best: bool = True

    item_types: ClassVar[dict[str, type]] = {"steps": int}
    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "steps": COUNT,
        "eps_step": BALL,
        "alpha": BALL,
        "decay": (0.0, 10.0),
        "restarts": COUNT,
        "check_every": COUNT,
    }

    def _check(self) -> None:
        if not self.steps:
            raise InputError("no number of steps: give steps as a list, e.g. steps: [100]")
        for key, choices in CHOICES.items():
            if (given := getattr(self, key)) not in choices:
                raise InputError(f"{key} must be one of {', '.join(choices)}, not '{given}'")
        if self.schedule == "halving" and self.eps_step is not None:
            raise InputError("schedule halving is of alpha: leave eps_step out")
        if self.restarts > 1 and self.start != "random":
            raise InputError("restarts need start: random; from another all are equal")
        if self.loss == REPRESENTATION and self.start != "random":
            raise InputError("loss representation needs start: random; at the input it is flat")

    @property
    def snapshots(self) -> list[int]:
        """See `Method.snapshots`."""
        return sorted(set(self.steps))

    @property
    def passes(self) -> int:
        """See `Method.passes`."""
        return max(self.steps) * self.restarts

    @property
    def start(self) -> str:
        """Where it begins: "clean", "random" or "fgsm", see `Pgd`."""
        return "random"

    @property
    def loss(self) -> str:
        """What is increased, see `Victim.losses`."""
        return ""

    @property
    def stop_on_success(self) -> bool:
        """Whether an utterance is left alone once the model's decision is the attacker's."""
        return False

    @property
    def check_every(self) -> int:
        """Steps between two looks at the decision."""
        return 10

    @property
    def spends(self) -> tuple[int, int]:
        """Gradients and queries of a step."""
        return 1, 0

    def gradient(
        self,
        objective: "Objective",
        inputs: "torch.Tensor",
        rows: "Rows",
        names: Sequence[str],
        ball: "Ball",
        step: int,
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """The gradient of the objective, or an estimate of it.

        Args:
            objective: of the attack.
            inputs: where it is taken, of some rows of the batch.
            rows: which.
            names: utterance ids of the whole batch.
            ball: of the whole batch.
            step: its number, over all restarts.

        Returns:
            a gradient like the inputs; the values of the objective there, (B').
        """
        from espnet_ext.victims.base import gradient_of

        return gradient_of(objective, inputs, rows)

    def doubt(self, ball: "Ball") -> str:
        """See `Method.doubt`; steps may be too long, or together too short to cross the ball."""
        radii = ball.radius.flatten()
        # Steps on a cosine schedule are half as long as the first one on average.
        share = self.alpha * (0.5 if self.schedule == "cosine" else 1.0)
        if self.eps_step is not None:
            if (longest := self.eps_step / float(radii.min())) > LONG:
                return (
                    f"a step of {self.eps_step:g} is {longest:.0%} of the smallest radius; steps "
                    "above a tenth find less: give alpha and schedule: cosine in its place"
                )
            share = self.eps_step / float(radii.max())
        # Halved steps cannot be summed up: how often they are halved depends on the progress.
        if (reach := share * max(self.steps)) < 1.0 - 1e-6 and self.schedule != "halving":
            return f"all steps together reach {reach:.0%} of the radius; take more, or longer ones"
        return ""

    def run(
        self,
        victim: "Victim[B]",
        batch: "B",
        ball: "Ball",
        state: "State | None" = None,
        on_step: "Callable[[State], None] | None" = None,
        wanted: "torch.Tensor | None" = None,
    ) -> "State":
        """See `Method.run`; `wanted` are the utterances to attack (B,), by default all."""
        from espnet_ext.attack.engine import Engine

        with victim.attack_mode():
            return Engine(victim, batch, ball, self, wanted).run(state, on_step)
