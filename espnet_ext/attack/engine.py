"""The one step loop of all attacks of this project that follow a gradient, on every kind of model.

It keeps everything on the device, takes each utterance by itself whatever the batch, records any
numbers of steps in one run, counts steps without a usable gradient, and can be interrupted.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic

import torch

from espnet_ext.attack.budget import Ball, inside
from espnet_ext.attack.methods.steps import Steps
from espnet_ext.victims.base import ALL, B, Rows, Victim, finite, unusable


@dataclass
class State:
    """All that a batch in progress needs to resume as if it had not been interrupted.

    Attributes:
        step: steps done, of all restarts together.
        inputs: current iterates, like the batch's inputs.
        stalled: steps in which an utterance's gradient was zero or not finite, (B,).
        running: False for an utterance that has reached its goal, (B,).
        spent: gradients and queries of each, (B, 2); a query is one more pass forward.
        snapshots: inputs after each recorded number of steps.
        costs: the part of `spent` that each snapshot has taken, of all restarts together, (B, 2).
        values: objective of the snapshots if the strongest is kept, (B,).
        kept: further tensors of the loop, by name: momentum, best, ...
        seconds: time spent.
    """

    step: int
    inputs: torch.Tensor
    stalled: torch.Tensor
    running: torch.Tensor
    spent: torch.Tensor
    snapshots: dict[int, torch.Tensor] = field(default_factory=dict)
    costs: dict[int, torch.Tensor] = field(default_factory=dict)
    values: dict[int, torch.Tensor] = field(default_factory=dict)
    kept: dict[str, torch.Tensor] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def of(cls, inputs: torch.Tensor, step: int = 0) -> "State":
        """The state before the first step: every utterance is running."""
        stalled = torch.zeros(len(inputs), dtype=torch.long, device=inputs.device)
        running = torch.ones_like(stalled, dtype=torch.bool)
        return cls(step, inputs, stalled, running, stalled.new_zeros(len(stalled), 2))


class Engine(Generic[B]):
    """The attack of one batch: what stays the same from step to step, and the step.

    Args:
        victim: the model under attack, which is in its `attack_mode`.
        batch: what is attacked.
        ball: where the attack may move.
        how: options of the steps.
        wanted: utterances to attack (B,); the others stay as they are. None for all.

    Example:
        >>> with victim.attack_mode():                                   # doctest: +SKIP
        ...     state = Engine(victim, batch, ball, Pgd(steps=10)).run()
        >>> state.snapshots[10]                                          # doctest: +SKIP
    """

    def __init__(
        self,
        victim: Victim[B],
        batch: B,
        ball: Ball,
        how: Steps,
        wanted: torch.Tensor | None = None,
    ):
        self.victim, self.batch, self.ball, self.how = victim, batch, ball, how
        self.wanted = wanted
        self.objective = victim.objective(batch, how.loss)
        self.last = max(how.steps)
        padding = ~inside(batch.inputs, batch.lengths)
        # A batch of equal lengths needs no mask in its steps.
        self.padding = padding if bool(padding.any()) else None
        halving = how.schedule == "halving" and how.eps_step is None
        self.checkpoints = checkpoints(self.last) if halving else []

    def run(
        self, state: State | None = None, on_step: Callable[[State], None] | None = None
    ) -> State:
        """Take all steps, or the remaining ones of an interrupted attack.

        Args:
            state: where an interrupted attack of the same batch stood.
            on_step: called with the state after each step, e.g. to save it.

        Returns:
            the state after the last step; its snapshots hold the ball exactly.
        """
        state = State.of(self.batch.inputs) if state is None else state
        while state.step < self.last * self.how.restarts:
            began = time.perf_counter()
            self._step(state)
            state.seconds += time.perf_counter() - began
            if on_step is not None:
                on_step(state)
        if stalled := int((state.stalled > 0).sum()):
            logging.warning(
                "%d of %d utterances had steps without a finite, non-zero gradient; where they "
                "stay as they are, they only look robust",
                stalled,
                len(state.stalled),
            )
        # Only now, because `exact` works on the host, and between steps rounding errors do no harm.
        state.snapshots = {n: self.ball.exact(x) for n, x in sorted(state.snapshots.items())}
        return state

    def whole_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Clean inputs moved by a step of the whole radius, as the fast gradient sign method does.

        Returns:
            inputs, in the ball; whether there was no usable gradient (B,).
        """
        # The batch's own tensor, by which the gradient is shared with attacks that begin there.
        gradient, _ = self._gradient(self.batch.inputs, ALL, 0)
        whole = torch.ones_like(self.ball.radius, dtype=torch.float32)
        moved = self.batch.inputs + self.ball.step(finite(gradient), whole)
        return self.ball.nearest(moved), unusable(gradient)

    def _step(self, state: State) -> None:
        """Move the utterances that are still running by one step."""
        how = self.how
        restart, taken = divmod(state.step, self.last)
        if taken == 0:  # where a restart begins, and nothing of the one before
            state.inputs, state.kept = self.batch.inputs, {}
            everybody = torch.ones_like(state.running)
            state.running = everybody if self.wanted is None else self.wanted.clone()
            if how.start == "random":
                key = f"{how.seed} start {restart}"
                offset = self.ball.random(self.batch.names, key, on_edge=False)
                state.inputs = self.ball.nearest(self.batch.inputs + offset)
            elif how.start == "fgsm":
                state.inputs, _ = self.whole_step()
        # Without either all are running, and `nonzero` would wait for the GPU in every step.
        some = how.stop_on_success or self.wanted is not None
        running = state.running.nonzero().squeeze(1) if some else ALL
        if isinstance(running, slice) or len(running):
            self._move(state, running, state.step)
            # Not in every step: the answer of a recognizer is a search, which can cost more than a
            # step.
            if how.stop_on_success and (taken + 1) % how.check_every == 0:
                state.spent[running, 1] += 1
                reached = self.victim.reached(self.batch, state.inputs[running], running)
                state.running[running] = ~reached
        state.step += 1
        taken += 1
        if taken in how.steps:
            self._record(state, taken)
            # At the last step of a restart all that was spent; so far, that of earlier restarts.
            earlier = state.costs.get(self.last, 0)
            state.costs[taken] = state.costs.get(taken, 0) + state.spent - earlier

    def _move(self, state: State, rows: Rows, step: int) -> None:
        # `step` goes on over restarts, so that estimates draw new directions; `taken` starts again.
        whole, taken = isinstance(rows, slice), step % self.last
        inputs = state.inputs if whole else state.inputs[rows]
        gradient, values = self._gradient(inputs, rows, step)
        for column, count in enumerate(self.how.spends):
            state.spent[rows, column] += count
        state.stalled[rows] += unusable(gradient).long()
        gradient = finite(gradient)
        # Compared before the step: `values` are those of the inputs where it begins.
        if self.how.best or self.checkpoints:
            better = self._compare(state, rows, inputs, values)
            if self.checkpoints:
                inputs, gradient = self._halve(state, rows, taken, inputs, gradient, values, better)
        if self.how.decay:
            # Dong et al. (2018), eq. (6): gradients are added after each was divided by its L1
            # norm.
            momentum = state.kept.setdefault("momentum", torch.zeros_like(self.batch.inputs))
            size = _wide(gradient.abs().flatten(1).sum(dim=1).clamp(min=1e-12), gradient)
            momentum[rows] = self.how.decay * momentum[rows] + gradient / size
            gradient = momentum[rows]
        ball = self.ball.rows(rows)
        moved = ball.nearest(inputs + ball.step(gradient, self._size(state, rows, taken)))
        # Not in place: at the start the inputs are the batch's own.
        state.inputs = moved if whole else state.inputs.index_copy(0, rows, moved)

    def _gradient(
        self, inputs: torch.Tensor, rows: Rows, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of each utterance's objective, zero in the padding, and the values."""
        known, key = self.batch.clean_gradients, (self.victim, self.how.loss)
        # Identity needs no comparison of samples. Estimates depend on their seed, and a model that
        # draws at random has another gradient each time, so neither is shared.
        clean = inputs is self.batch.inputs and self.victim.repeatable and self.how.spends[0] > 0
        if clean and key in known:
            return known[key]
        gradient, values = self.how.gradient(
            self.objective, inputs, rows, self.batch.names, self.ball, step
        )
        if self.padding is not None:
            # Whisper hears its padding, whose gradient would count in the length of a step.
            gradient = gradient.masked_fill(self.padding[rows], 0.0)
        if clean:
            known[key] = gradient, values
        return gradient, values

    def _size(self, state: State, rows: Rows, taken: int) -> torch.Tensor | float:
        """Length of the next step, see `Ball.step`."""
        how = self.how
        if self.checkpoints:
            return state.kept["share"][rows]
        if how.eps_step is not None:
            return how.eps_step
        share = how.alpha
        if how.schedule == "cosine":
            share *= 0.5 * (1.0 + math.cos(math.pi * taken / self.last))
        # A share of each utterance's own radius, because radii from an SNR differ.
        return torch.full_like(self.ball.radius[rows], share, dtype=torch.float32)

    def _compare(
        self, state: State, rows: Rows, inputs: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Remember the strongest iterate of this restart; where it is this one, (B',)."""
        kept = state.kept
        if "best" not in kept:
            # Nothing is known yet, and NaN is below every number.
            kept["best"] = state.inputs.clone()
            kept["value"] = values.new_full((len(state.inputs),), math.nan)
        better = stronger(values, kept["value"][rows])
        kept["best"][rows] = where(better, inputs, kept["best"][rows])
        kept["value"][rows] = torch.where(better, values, kept["value"][rows])
        return better

    def _halve(
        self,
        state: State,
        rows: Rows,
        taken: int,
        inputs: torch.Tensor,
        gradient: torch.Tensor,
        values: torch.Tensor,
        better: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Halve the step of utterances without progress, which go on from their best.

        Croce and Hein (2020), conditions 1 and 2 of section 3.1.

        Returns:
            where the next step begins, and the gradient there.
        """
        kept, radius = state.kept, self.ball.radius
        if "share" not in kept:
            kept["share"] = torch.full_like(radius, self.how.alpha, dtype=torch.float32)
            kept["slope"] = torch.zeros_like(self.batch.inputs)
            kept["before"], kept["then"] = kept["value"].clone(), kept["value"].clone()
            kept["rises"] = torch.zeros_like(state.stalled)
            kept["halved"] = torch.zeros_like(state.running)
        kept["slope"][rows] = where(better, gradient, kept["slope"][rows])
        # Condition 1 counts the steps that raised the objective; condition 2 asks whether the best
        # value is still that of the last checkpoint, if the step was not halved there.
        kept["rises"][rows] += (values > kept["before"][rows]).long()
        kept["before"][rows] = values
        if taken not in self.checkpoints:
            return inputs, gradient
        place = self.checkpoints.index(taken)
        window = taken - (self.checkpoints[place - 1] if place else 0)
        # rho = 0.75 in the paper.
        few = kept["rises"] < 0.75 * window
        stuck = ~kept["halved"] & (kept["value"] <= kept["then"])
        kept["halved"] = few | stuck
        kept["then"], kept["rises"] = kept["value"].clone(), torch.zeros_like(kept["rises"])
        kept["share"] = torch.where(_wide(kept["halved"], radius), 0.5, 1.0) * kept["share"]
        again = kept["halved"][rows]
        return (
            where(again, kept["best"][rows], inputs),
            where(again, kept["slope"][rows], gradient),
        )

    def _record(self, state: State, taken: int) -> None:
        """Record the iterate, or the strongest of the iterate and earlier ones."""
        inputs = state.inputs
        if not self.how.best and self.how.restarts == 1:
            state.snapshots[taken] = inputs.clone()
            return
        with torch.no_grad():
            # Nothing is stronger than what has reached the goal, whatever its objective is.
            values = self.objective(inputs, ALL).masked_fill(~state.running, math.inf)
        state.spent[:, 1] += state.running.long()
        # The current iterate comes from the last step and was not compared yet, hence the query
        # above.
        others = [(state.kept["best"], state.kept["value"])] if self.how.best else []
        if taken in state.snapshots:  # of earlier restarts
            others.insert(0, (state.snapshots[taken], state.values[taken]))
        for other, value in others[::-1]:
            # The first of equals stays.
            better = stronger(values, value)
            inputs, values = where(better, inputs, other), torch.where(better, values, value)
        state.snapshots[taken], state.values[taken] = inputs.clone(), values


def stronger(values: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Where a value is above another; NaN is below every number."""
    # No comparison with NaN would ever be true.
    return (values > others) | (others.isnan() & ~values.isnan())


def _wide(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) to (B, 1, ...) with as many dimensions as `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def where(chosen: torch.Tensor, some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """For each utterance the row of `some` where `chosen` (B,) is true, else that of `others`."""
    return torch.where(_wide(chosen, some), some, others)


def checkpoints(steps: int) -> list[int]:
    """Steps after which Auto-PGD looks back: Croce and Hein (2020), section 3.1.

    Example:
        >>> checkpoints(10)
        [3, 5, 6, 8, 9]
    """
    before, at, found = 0.0, 0.22, []
    # The paper's p_0 = 0, p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06).
    while at < 1.0:
        found.append(math.ceil(at * steps))
        before, at = at, at + max(at - before - 0.03, 0.06)
    return sorted({*found} - {steps})
