"""The worst case of a batch over several attacks, one after the other."""

from collections.abc import Callable, Mapping
from typing import Generic

import torch

from espnet_ext.attack.budget import Ball
from espnet_ext.attack.engine import State, where
from espnet_ext.attack.methods.steps import Steps
from espnet_ext.attack.state import state_within, with_state
from espnet_ext.data.attack_log import TRANSFER
from espnet_ext.victims.base import ALL, B, Victim


class WorstCase(Generic[B]):
    """Attacks of one batch, of which each utterance keeps the strongest.

    The state has the strongest inputs so far in its only snapshot; that of the attack in progress
    lies in `kept`, see `espnet_ext.attack.state.with_state`, so that it can be gone on with.

    Args:
        victim: the model.
        batch: utterances.
        ball: where they may be moved.
        members: attacks by name, in their order; they record one number of steps. The one named
            `TRANSFER` is made on `victim.surrogate`; gradients of that are not counted as spent.
        label: the number of steps under which the result is recorded.
    """

    def __init__(
        self,
        victim: Victim[B],
        batch: B,
        ball: Ball,
        members: Mapping[str, Steps],
        label: int,
    ):
        self.victim, self.batch, self.ball = victim, batch, ball
        self.members, self.label = members, label
        self.objective = victim.objective(batch, "")

    def run(
        self, state: State | None = None, on_step: Callable[[State], None] | None = None
    ) -> State:
        """Run all attacks, or the remaining part of them; see `Engine.run`.

        Returns:
            the state; `kept["strongest"]` has the place in `members` of the attack whose inputs
            are kept, -1 where none was stronger than no attack.
        """
        if state is None:
            state = State.of(self.batch.inputs)
            state.snapshots[self.label] = self.batch.inputs
            state.values[self.label], state.kept["objective"] = self._judge(self.batch.inputs)
            state.kept["strongest"] = torch.full_like(state.stalled, -1)
            state.spent[:, 1] += 2  # answer and objective without attack
            self._leave(state)
        done = 0
        for place, (name, member) in enumerate(self.members.items()):
            began, done = done, done + member.passes
            if state.step < done and bool(state.running.any()):
                surrogate = self.victim.surrogate if name == TRANSFER else None
                self._run_member(state, place, member, began, on_step, surrogate)
            # A member that was skipped counts as done: nobody was left for it.
            state.step = max(state.step, done)
        return state

    def _run_member(
        self,
        state: State,
        place: int,
        member: Steps,
        began: int,
        on_step: Callable[[State], None] | None,
        surrogate: Victim[B] | None,
    ) -> None:
        """Run one attack on the utterances that can still get worse, and keep what it gains."""
        wanted = state.running.clone()
        inner = state_within(state, began) if state.step > began else None

        def _save(now: State) -> None:
            # After its last step an attack is saved with what is kept of it, not before.
            if on_step is not None and now.step < member.passes:
                on_step(with_state(state, now, began))

        if surrogate is None:
            found = member.run(self.victim, self.batch, self.ball, inner, _save, wanted)
            state.stalled += found.stalled
            state.spent += found.spent
        else:
            batch = surrogate.adopt(self.batch)
            found = member.run(surrogate, batch, self.ball, inner, _save, wanted)
        state.seconds += found.seconds
        # The state of the member that is finished would be taken for that of the next one.
        state.kept = {name: state.kept[name] for name in ("objective", "strongest")}
        self._take(state, found.snapshots[member.snapshots[-1]], place)

    def _judge(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """How far the model's answers are towards the goal, and the objective."""
        with self.victim.attack_mode(), torch.no_grad():
            # An objective that is NaN must not look stronger than a number.
            values = self.objective(inputs, ALL).nan_to_num(nan=-torch.inf)
            return self.victim.progress(self.batch, inputs, ALL), values

    def _take(self, state: State, inputs: torch.Tensor, place: int) -> None:
        """Keep the stronger inputs of the utterances that are still running."""
        progress, values = self._judge(inputs)
        kept, before = state.kept, state.values[self.label]
        # The answer counts; the objective only tells equal answers apart.
        better = (progress > before) | ((progress == before) & (values > kept["objective"]))
        better &= state.running
        strongest = where(better, inputs, state.snapshots[self.label])
        state.inputs = state.snapshots[self.label] = strongest
        state.values[self.label] = torch.where(better, progress, before)
        kept["objective"] = torch.where(better, values, kept["objective"])
        kept["strongest"] = kept["strongest"].masked_fill(better, place)
        state.spent[:, 1] += 2 * state.running.long()  # answer and objective
        self._leave(state)

    def _leave(self, state: State) -> None:
        """Stop utterances that cannot get worse."""
        if not self.victim.graded:
            state.running = state.values[self.label] < 0.0
