"""Whether the gradient of a model can be followed, checked before any result is believed."""

import dataclasses

import torch

from espnet_ext.attack.budget import Ball, inside
from espnet_ext.victims.base import B, Victim, finite, gradient_of, unusable

SHARES = (0.01, 0.1, 0.001, 0.0001)
"""Lengths of steps as shares of the radius. Long ones come first and are enough for most models;
short ones are for gradients that turn within a hundredth of the radius, as of a log spectrum."""
APART = 0.5
TWICE = 4
"""Utterances whose gradient is taken twice: what a model draws at random it draws for each."""


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """Findings on the gradient of the objective, at the inputs of a batch without attack.

    `espnet_ext.report.flags.gradient_flags` says which shares are too many, and why.

    Attributes:
        unusable: share of utterances whose gradient is zero or not finite.
        unrepeatable: share of the others whose gradient is another the second time; of `TWICE` of
            them at most.
        misleading: share of the others along whose gradient the objective does not change as the
            gradient says over any of `SHARES`.
    """

    unusable: float
    unrepeatable: float
    misleading: float

    @classmethod
    def of(cls, victim: Victim[B], batch: B, ball: Ball) -> "GradientCheck":
        """Check the gradient of a model.

        The objective is compared at two points, equally far on both sides of the input along the
        step that an attack would take, with the slope that the gradient predicts; central
        differences differ from it by less than half of it where a step is short enough.

        Args:
            victim: the model.
            batch: utterances.
            ball: gives the length and the direction of steps.

        Example:
            >>> GradientCheck.of(victim, batch, ball)                    # doctest: +SKIP
            GradientCheck(unusable=0.0, unrepeatable=0.0, misleading=0.0)
        """
        with victim.attack_mode():
            objective, inputs = victim.objective(batch, ""), batch.inputs
            gradient, values = gradient_of(objective, inputs)
            gradient = gradient.masked_fill(~inside(inputs, batch.lengths), 0.0)
            usable = ~unusable(gradient)
            some = usable.nonzero().squeeze(1)
            # Evenly spread over the batch, rounded up so that there are no more than `TWICE`.
            some = some[:: -(-len(some) // TWICE) or 1]
            other = torch.zeros(len(some), dtype=torch.bool)
            if len(some) > 0:
                # Both in a batch of the same size, for kernels of another size round otherwise.
                looks = [gradient_of(objective, inputs[some], some)[0] for _ in range(2)]
                first, again = (finite(look).flatten(1) for look in looks)
                # Not bit by bit: kernels of a GPU add in an order that changes from call to call.
                other = (again - first).norm(dim=1) > 0.01 * first.norm(dim=1)
            # Attacks that begin at the clean input do not take this gradient again.
            if victim.repeatable and not other.any():
                batch.clean_gradients[victim, ""] = gradient, values
            gradient = finite(gradient)
            agrees = ~usable
            for share in SHARES:
                # A shorter step is tried for those utterances alone that have not agreed with a
                # longer one.
                rows = (~agrees).nonzero().squeeze(1)
                if len(rows) == 0:
                    break
                if not victim.repeatable:  # batch statistics: the objective is of the whole batch
                    rows = usable.nonzero().squeeze(1)
                whole = torch.full_like(ball.radius, share, dtype=torch.float32)
                # Not projected: a step that the ball cuts on one side would no longer be symmetric.
                step, clean = ball.step(gradient, whole)[rows], inputs[rows]
                with torch.no_grad():
                    rise = objective(clean + step, rows) - objective(clean - step, rows)
                predicted = 2.0 * (gradient[rows] * step).flatten(1).sum(dim=1)
                agrees[rows] |= (rise - predicted).abs() <= APART * predicted.abs()
        return cls(
            float((~usable).float().mean()),
            float(other.float().sum()) / max(len(some), 1),
            int((~agrees).sum()) / max(int(usable.sum()), 1),
        )
