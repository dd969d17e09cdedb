"""The square attack of ART."""

import dataclasses
import math
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.attack.methods import register
from espnet_ext.attack.methods.art import ArtMethod
from espnet_ext.data.options import COUNT

if TYPE_CHECKING:
    from art.attacks import EvasionAttack

    from espnet_ext.victims.countermeasure import CountingClassifier


@register
@dataclasses.dataclass(frozen=True)
class Square(ArtMethod):
    """The square attack (Andriushchenko et al. 2020) of ART: scores alone, no gradient.

    It shows where a defence only hides its gradients.

    Attributes:
        queries: iterations.
        first_share: share of the plane that the first squares cover. ART fails where a square is
            as long as the shorter side, so it is made smaller where need be.
    """

    name: ClassVar[str] = "square"
    title: ClassVar[str] = "Square"
    needs: ClassVar[str] = "scores"
    norms: ClassVar[tuple[float, ...]] = (math.inf,)  # ART's L2 fails on planes that are no squares
    plane: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[float, float]]] = {"queries": COUNT, "first_share": (0.0, 1.0)}

    queries: int = 1000
    first_share: float = 0.8

    @property
    def snapshots(self) -> list[int]:
        """See `Method.snapshots`."""
        return [self.queries]

    @property
    def passes(self) -> int:
        """See `Method.passes`."""
        return self.queries

    def art(
        self, classifier: "CountingClassifier", norm: float, eps: float, shape: tuple[int, ...]
    ) -> "EvasionAttack":
        """See `ArtMethod.art`."""
        from art.attacks.evasion import SquareAttack

        short, area = min(shape[1:]), math.prod(shape)
        return SquareAttack(
            classifier,
            norm=norm,
            eps=eps,
            max_iter=self.queries,
            # ART draws the corner of a tile from randint(0, side - tile), which fails at 0. The
            # side of a tile is sqrt(p * area), rounded: at most one below the shorter side, less a
            # half for the rounding.
            p_init=min(self.first_share, (max(short - 1, 1) - 0.5) ** 2 / area),
            verbose=False,
        )
