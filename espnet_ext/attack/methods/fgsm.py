"""The fast gradient sign method."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.base import Method
from espnet_ext.attack.methods.pgd import Pgd
from espnet_ext.errors import InputError
from espnet_ext.victims.options import REPRESENTATION

if TYPE_CHECKING:
    import torch

    from espnet_ext.attack.budget import Ball
    from espnet_ext.victims.base import B, Victim


@register
@dataclasses.dataclass(frozen=True)
class Fgsm(Method):
    """One step of the whole radius (Goodfellow et al. 2015), for norm 2 along the gradient.

    Attributes:
        loss: what is increased, see the losses of the kind of model; its first by default.
    """

    name: ClassVar[str] = "fgsm"
    title: ClassVar[str] = "FGSM"

    loss: str = ""

    def _check(self) -> None:
        if self.loss == REPRESENTATION:
            raise InputError("loss representation is flat at the input, where fgsm begins; use pgd")

    def perturb(
        self, victim: "Victim[B]", batch: "B", ball: "Ball"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """See `Method.perturb`."""
        from espnet_ext.attack.engine import Engine

        # Of Pgd only the loss is used: the step has the length of the radius.
        moved, stalled = Engine(victim, batch, ball, Pgd(loss=self.loss)).whole_step()
        return moved, stalled.long()
