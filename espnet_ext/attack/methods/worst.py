"""The worst case over attacks that fail in different ways."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.base import Method
from espnet_ext.attack.methods.pgd import Pgd
from espnet_ext.attack.methods.spsa import Spsa
from espnet_ext.data.attack_log import TRANSFER
from espnet_ext.data.options import COUNT
from espnet_ext.victims.options import REPRESENTATION, SCORE

if TYPE_CHECKING:
    from espnet_ext.attack.budget import Ball
    from espnet_ext.attack.engine import State
    from espnet_ext.victims.base import B, Victim


@register
@dataclasses.dataclass(frozen=True)
class Worst(Method):
    """For each utterance the strongest of several attacks, in the spirit of AutoAttack.

    Croce and Hein (2020) for speech. The attacks fail for different reasons: PGD on a cosine
    schedule with momentum, and from a second random point; the halved steps of Auto-PGD; PGD on
    every other loss of the model (each head; the margin); where gradients lead nowhere, one that
    asks for values alone (SPSA); and PGD on `Victim.surrogate`, where there is one. What counts is
    the model's answer (`Victim.progress`);
    among equal answers the larger objective. Where an answer can be no worse (a target that is
    written), the utterance is left alone.

    Attributes:
        worst_steps: steps of each attack along a gradient.
        guesses: steps of the attack without one.
    """

    name: ClassVar[str] = "worst"
    title: ClassVar[str] = "worst case"
    limits: ClassVar[dict[str, tuple[float, float]]] = {"worst_steps": COUNT, "guesses": COUNT}

    worst_steps: int = 100
    guesses: int = 20

    @property
    def snapshots(self) -> list[int]:
        """See `Method.snapshots`."""
        return [self.worst_steps]

    @property
    def passes(self) -> int:
        """See `Method.passes`; the number for a model with two losses."""
        return sum(member.passes for member in self.members(("first", "second"), False).values())

    def members(
        self, losses: Sequence[str], graded: bool, transfer: bool = False
    ) -> dict[str, Pgd | Spsa]:
        """The attacks, by name.

        Args:
            losses: of the model; what it decides by is followed first, see `Victim.losses`.
            graded: whether answers can be worse than the attacker's goal, see `Victim.graded`.
            transfer: whether there is a surrogate, attacked by its own default loss.

        Example:
            >>> list(Worst().members(("cross_entropy", "score"), graded=True))
            ['cosine', 'halving', 'cross_entropy', 'restart', 'spsa']
        """
        first = SCORE if SCORE in losses else losses[0]
        others = [loss for loss in losses if loss not in (first, REPRESENTATION)]
        cosine = Pgd(
            self.seed, (self.worst_steps,), decay=0.9, loss=first, stop_on_success=not graded
        )
        # Not only until the surrogate gives in: what goes further carries over better.
        transferred = dataclasses.replace(cosine, loss="", stop_on_success=False)
        spsa = Spsa(self.seed, (self.guesses,), decay=0.9, loss=first, stop_on_success=not graded)
        return {
            "cosine": cosine,
            # Auto-PGD begins with steps of twice the radius.
            "halving": dataclasses.replace(cosine, schedule="halving", alpha=2.0, decay=0.0),
            **{loss: dataclasses.replace(cosine, loss=loss) for loss in others},
            # Another seed and not `restarts`: the first start has been tried by `cosine`.
            "restart": dataclasses.replace(cosine, seed=self.seed + 1),
            "spsa": spsa,
            **({TRANSFER: transferred} if transfer else {}),
        }

    def run(
        self,
        victim: "Victim[B]",
        batch: "B",
        ball: "Ball",
        state: "State | None" = None,
        on_step: "Callable[[State], None] | None" = None,
    ) -> "State":
        """See `Method.run`."""
        from espnet_ext.attack.worst import WorstCase

        members = self._of(victim)
        return WorstCase(victim, batch, ball, members, self.worst_steps).run(state, on_step)

    def _of(self, victim: "Victim[B]") -> dict[str, Pgd | Spsa]:
        return self.members(victim.losses, victim.graded, victim.surrogate is not None)

    def details(self, victim: "Victim[B]", state: "State") -> list[dict[str, object]]:
        """`strongest`, the attack whose inputs are kept; null if none beat no attack."""
        names = [*self._of(victim), None]
        return [{"strongest": names[place]} for place in state.kept["strongest"].tolist()]
