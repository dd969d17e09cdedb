"""The control of every attack: random noise as large as the budget allows."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.base import Method

if TYPE_CHECKING:
    import torch

    from espnet_ext.attack.budget import Ball
    from espnet_ext.victims.base import B, Victim


@register
@dataclasses.dataclass(frozen=True)
class Noise(Method):
    """Noise of the budget's whole size: random signs (norm infinity), or white noise (norm 2).

    An utterance has the same noise, up to its size, in every budget, so that curves over it
    are paired.
    """

    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "noise of the same size"
    needs: ClassVar[str] = "nothing"

    def perturb(
        self, victim: "Victim[B]", batch: "B", ball: "Ball"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """See `Method.perturb`."""
        noisy = batch.inputs + ball.random(batch.names, f"{self.seed} signs", on_edge=True)
        return noisy, batch.lengths.new_zeros(len(batch.names))
