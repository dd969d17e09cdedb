"""An attack by somebody who has the upstream model, but not what comes behind it."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.steps import Steps
from espnet_ext.errors import InputError
from espnet_ext.victims.options import REPRESENTATION

if TYPE_CHECKING:
    from espnet_ext.victims.base import B, Victim


@register
@dataclasses.dataclass(frozen=True)
class Upstream(Steps):
    """PGD on the distance `||h(x + d) - h(x)||` of representations, from a random point.

    At the clean input the distance is flat, so the start is always random.
    """

    name: ClassVar[str] = "upstream"
    title: ClassVar[str] = "PGD on the upstream"

    def check(self, victim: "Victim[B]") -> None:
        """See `Method.check`."""
        if REPRESENTATION not in victim.losses:
            raise InputError(
                "the attack on the upstream needs a countermeasure with one between its features "
                "and its encoder, e.g. defense: mockingjay; attack the waveform where it is the "
                "front end"
            )

    @property
    def loss(self) -> str:
        """See `Steps.loss`."""
        return REPRESENTATION
