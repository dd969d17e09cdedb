"""Steps along a gradient that is estimated from answers alone."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.steps import Steps
from espnet_ext.data.options import BALL, COUNT

if TYPE_CHECKING:
    import torch

    from espnet_ext.attack.budget import Ball
    from espnet_ext.victims.base import Objective, Rows


@register
@dataclasses.dataclass(frozen=True)
class Spsa(Steps):
    """Simultaneous perturbation stochastic approximation (Uesato et al. 2018, after Spall 1992).

    In each step the objective is asked at pairs of points on both sides of the iterate, in
    random directions; the differences weigh the directions. It needs no gradient, so it shows
    where a model only hides its own.

    Attributes:
        steps: numbers of steps whose inputs are kept; the last one is the number of steps.
        pairs: directions in a step; it asks twice as often, and once at the iterate.
        delta: distance of the points from the iterate, as a share of the radius.
        start: clean or random.
        loss: what is increased, see the losses of the kind of model; its first by default.
        stop_on_success: leave an utterance alone once the model's decision is the attacker's.
        check_every: steps between two looks at the decision.
    """

    name: ClassVar[str] = "spsa"
    title: ClassVar[str] = "SPSA"
    needs: ClassVar[str] = "scores"
    limits: ClassVar[dict[str, tuple[float, float]]] = {
        **Steps.limits,
        "pairs": COUNT,
        "delta": BALL,
    }

    pairs: int = 8
    delta: float = 0.1
    start: str = "clean"
    loss: str = ""
    stop_on_success: bool = False
    check_every: int = 10

    @property
    def spends(self) -> tuple[int, int]:
        """See `Steps.spends`."""
        return 0, 2 * self.pairs + 1

    def gradient(
        self,
        objective: "Objective",
        inputs: "torch.Tensor",
        rows: "Rows",
        names: Sequence[str],
        ball: "Ball",
        step: int,
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """See `Steps.gradient`; an estimate."""
        import torch

        found = torch.zeros_like(inputs)
        with torch.no_grad():
            values = objective(inputs, rows)
            for pair in range(self.pairs):
                # `names` are those of the whole batch: an utterance keeps its directions when
                # others stop.
                key = f"{self.seed} direction {step} {pair}"
                offset = self.delta * ball.random(names, key, on_edge=True)[rows]
                rise = objective(inputs + offset, rows) - objective(inputs - offset, rows)
                # Not divided by the distance: only the direction of the sum is used.
                found += rise.view(-1, *[1] * (inputs.ndim - 1)) * offset
        return found, values
