"""What every attack is: a frozen dataclass whose fields are its YAML keys."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from espnet_ext.data.options import Options
from espnet_ext.errors import InputError

if TYPE_CHECKING:  # settings are read and checked without PyTorch
    import torch

    from espnet_ext.attack.budget import Ball, Budget
    from espnet_ext.attack.engine import State
    from espnet_ext.victims.base import B, Victim


@dataclasses.dataclass(frozen=True)
class Method(Options):
    """An attack, without a budget.

    A subclass has fields with defaults, which are its YAML keys, and either `perturb` or, if
    it can be interrupted or records several numbers of steps, `run`.

    Attributes:
        name: in YAML files, directories and logs.
        title: in reports.
        needs: of the model: "gradients", "scores" or "nothing".
        needs_features: whether it is for features of two dimensions alone, not for waveforms.
        norms: of budgets that it can be given.
        seed: of all random numbers, which are drawn for each utterance by its id.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[str] = "gradients"
    needs_features: ClassVar[bool] = False
    norms: ClassVar[tuple[float, ...]] = (2, math.inf)

    seed: int = 0

    @property
    def snapshots(self) -> Sequence[int]:
        """Numbers of steps after which inputs are kept; the last is the whole attack."""
        return [1]

    @property
    def passes(self) -> int:
        """Approximate number of passes through the model that the attack takes."""
        return 1

    def check(self, victim: "Victim[B]") -> None:
        """Refuse a model that this attack cannot be run on.

        Raises:
            InputError: says why.
        """

    def check_options(self, units: Sequence[str], losses: Sequence[str], budget: "Budget") -> None:
        """Refuse options that do not fit what is attacked, as far as is known without a model.

        Args:
            units: of budgets, see `Victim.units`.
            losses: see `Victim.losses`.
            budget: of the attack.

        Raises:
            InputError: the unit, the norm, the loss or the method is not for what is attacked.
        """
        if budget.unit not in units:
            raise InputError(
                f"a budget in {budget.unit} is not for what is attacked here; give unit: "
                f"{' or '.join(units)}"
            )
        if budget.norm not in self.norms:
            raise InputError(
                f"method {self.name} has no norm {budget.norm:g}; leave it out, or use pgd"
            )
        if self.needs_features and "snr" in units:
            raise InputError(
                f"method {self.name} needs a plane of frames and dimensions; it is for "
                "space: features"
            )
        loss = getattr(self, "loss", "")
        if loss and loss not in losses:
            raise InputError(f"loss must be one of {', '.join(losses)}, not '{loss}'")

    def doubt(self, ball: "Ball") -> str:
        """Why little success in a ball would prove little about a model; empty without a reason."""
        return ""

    def run(
        self,
        victim: "Victim[B]",
        batch: "B",
        ball: "Ball",
        state: "State | None" = None,
        on_step: "Callable[[State], None] | None" = None,
    ) -> "State":
        """Attack a batch, or resume an attack.

        Args:
            victim: the model.
            batch: utterances.
            ball: where they may be moved.
            state: where an interrupted attack of the same batch stood.
            on_step: called with the state after each step.

        Returns:
            the final state; its `snapshots` are exactly inside the ball.
        """
        from espnet_ext.attack.engine import State

        began = time.perf_counter()
        with victim.attack_mode():
            moved, stalled = self.perturb(victim, batch, ball)
        # Whatever a method returns, what is recorded is inside of the ball.
        state = State.of(ball.exact(ball.nearest(moved)), step=1)
        state.stalled, state.snapshots = stalled, {self.snapshots[-1]: state.inputs}
        kind = {"gradients": 0, "scores": 1}.get(self.needs)
        if kind is not None:
            state.spent[:, kind] = self.passes
        state.seconds = time.perf_counter() - began
        return state

    def details(self, victim: "Victim[B]", state: "State") -> "list[dict[str, object]]":
        """Keys of the log for each utterance that only this method has."""
        return [{} for _ in state.running]

    def perturb(
        self, victim: "Victim[B]", batch: "B", ball: "Ball"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Adversarial inputs, which are moved into the ball afterwards.

        Returns:
            inputs like those of the batch; steps without a usable gradient (B,), int64.
        """
        raise NotImplementedError
