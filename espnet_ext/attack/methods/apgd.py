"""Auto-PGD of ART."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.art import ArtMethod
from espnet_ext.data.options import COUNT

if TYPE_CHECKING:
    from art.attacks import EvasionAttack

    from espnet_ext.victims.countermeasure import CountingClassifier


@register
@dataclasses.dataclass(frozen=True)
class AutoPgd(ArtMethod):
    """Auto-PGD (Croce and Hein 2020) of ART with the cross-entropy.

    ART gives back the last iterate where it is misclassified, and the random start where it is
    not; utterances that are misclassified to begin with stay as they are. The loss of
    difference ratios needs three classes.

    Attributes:
        steps: iterations; of several the last.
        restarts: random starts.
    """

    name: ClassVar[str] = "apgd"
    title: ClassVar[str] = "AutoPGD"
    item_types: ClassVar[dict[str, type]] = {"steps": int}
    limits: ClassVar[dict[str, tuple[float, float]]] = {"steps": COUNT, "restarts": COUNT}

    steps: tuple[int, ...] = (100,)
    restarts: int = 1

    @property
    def snapshots(self) -> list[int]:
        """See `Method.snapshots`."""
        return [max(self.steps)]

    @property
    def passes(self) -> int:
        """See `Method.passes`."""
        return max(self.steps) * self.restarts

    def art(
        self, classifier: "CountingClassifier", norm: float, eps: float, shape: tuple[int, ...]
    ) -> "EvasionAttack":
        """See `ArtMethod.art`."""
        from art.attacks.evasion import AutoProjectedGradientDescent

        return AutoProjectedGradientDescent(
            classifier,
            norm=norm,
            eps=eps,
            eps_step=2.0 * eps,  # as its authors begin
            max_iter=max(self.steps),
            nb_random_init=self.restarts,
            # None is the loss of the estimator. With "cross_entropy" ART builds another classifier,
            # which counts no gradients and sets no modes.
            loss_type=None,
            verbose=False,
        )
