"""Projected gradient descent."""

import dataclasses
from typing import ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.steps import Steps


@register
@dataclasses.dataclass(frozen=True)
class Pgd(Steps):
    """Projected gradient descent (Madry et al. 2018).

    Each step moves every utterance along its own normalised gradient (its sign for norm
    infinity), clips it to the range of inputs, and projects it onto the ball.

    Attributes:
        start: clean input; random point of the ball; or fgsm, the point of `Fgsm`, with which and
            with `best` PGD is never weaker than FGSM.
        loss: what is increased, see the losses of the kind of model; its first by default.
        stop_on_success: leave an utterance alone once the model's decision is the attacker's.
        check_every: steps between two looks at the decision.
    """

    name: ClassVar[str] = "pgd"
    title: ClassVar[str] = "PGD"

    start: str = "random"
    loss: str = ""
    stop_on_success: bool = False
    check_every: int = 10
