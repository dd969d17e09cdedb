"""Attacks of ART on padded batches of a model that can be a classifier of ART.

ART wants inputs of one length, one epsilon for all dimensions, and draws from NumPy's global
generator. Here utterances of one length and radius are attacked together, in multiples of the
scale, with the generators put back.
"""

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from espnet_ext.attack.methods.base import Method
from espnet_ext.attack.seeds import seeded
from espnet_ext.errors import InputError

if TYPE_CHECKING:
    import torch
    from art.attacks import EvasionAttack

    from espnet_ext.attack.budget import Ball
    from espnet_ext.victims.base import B, Victim
    from espnet_ext.victims.countermeasure import CountingClassifier


@dataclasses.dataclass(frozen=True)
class ArtMethod(Method):
    """Base of attacks that ART computes; a subclass says which in `art`."""

    plane: ClassVar[bool] = False
    """Whether ART wants a channel in front of frames and dimensions."""

    def art(
        self, classifier: "CountingClassifier", norm: float, eps: float, shape: tuple[int, ...]
    ) -> "EvasionAttack":
        """The attack of ART on inputs of `shape`, behind that of the batch."""
        raise NotImplementedError

    def check(self, victim: "Victim[B]") -> None:
        """See `Method.check`."""
        from espnet_ext.victims.base import Classifies

        if not isinstance(victim, Classifies):
            raise InputError(
                f"method {self.name} is ART's and needs a classifier, which a model of kind "
                f"{victim.kind} is not; use pgd"
            )

    def perturb(
        self, victim: "Victim[B]", batch: "B", ball: "Ball"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """See `Method.perturb`."""
        import torch

        moved = batch.inputs.clone()
        stalled = batch.lengths.new_zeros(len(batch.names))
        groups: dict[tuple[int, float], list[int]] = defaultdict(list)
        for row, length in enumerate(batch.lengths.tolist()):
            groups[length, float(ball.radius[row])].append(row)
        for (length, eps), rows in sorted(groups.items()):
            inputs = batch.inputs[rows, :length]
            # In multiples of the scale, one eps is right for all dimensions.
            x = inputs if ball.scale is None else inputs / ball.scale
            names = " ".join(batch.names[row] for row in rows)
            with seeded(f"{self.seed} {self.title} {names}"):
                delta, counted = self._delta(victim, batch, rows, ball, eps, x.cpu().numpy())
            change = torch.from_numpy(delta).to(inputs)
            moved[rows, :length] = inputs + (change if ball.scale is None else change * ball.scale)
            stalled[rows] = torch.from_numpy(counted).to(stalled)
        return moved, stalled

    def _delta(
        self,
        victim: "Victim[B]",
        batch: "B",
        rows: list[int],
        ball: "Ball",
        eps: float,
        x: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Perturbation of `x` (N, F, D) or (N, T), and steps (N,) without a usable gradient."""
        from espnet_ext.victims.base import Classifies

        assert isinstance(victim, Classifies)  # see `check`
        x = x[:, np.newaxis] if self.plane else x
        classifier = victim.classifier(batch, rows, x.shape[1:], ball.scale)
        attack = self.art(classifier, ball.norm, eps, x.shape[1:])
        # One batch: the default size of ART's attack would divide the group.
        attack.batch_size = len(x)
        delta = (attack.generate(x, classifier.labels) - x).astype(np.float32)
        return (delta[:, 0] if self.plane else delta), classifier.stalled
