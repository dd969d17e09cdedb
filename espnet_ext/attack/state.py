"""The state of a batch in progress, on disk."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from espnet_ext.attack.engine import State
from espnet_ext.data.audio import samples_digest
from espnet_ext.data.files import write_binary
from espnet_ext.data.weights import load_tensors
from espnet_ext.errors import InputError
from espnet_ext.victims.base import Batch

About = list[list[str]]
WITHIN = "within "


def about(batch: Batch, goals: Sequence[object]) -> About:
    """The identity of a batch: ids, digests of the inputs, goals."""
    # Digests of the inputs, because a file of the same name may have been replaced.
    digests = [samples_digest(array) for array in batch.arrays(batch.inputs)]
    return [batch.names, digests, [str(goal) for goal in goals]]


def save_state(path: Path, what: About, state: State) -> None:
    """Save a state; only tensors and numbers, no pickled objects."""
    saved = {"batch": what, **vars(state)}
    write_binary(path, lambda file: torch.save(saved, file))


def load_state(path: Path, what: About, batch: Batch, snapshots: Sequence[int]) -> State | None:
    """The saved state of a batch; None where there is none, or it is damaged.

    A damaged file is renamed to `<name>.damaged`, with a warning.

    Args:
        path: of `save_state`.
        what: the batch that it must be of, see `about`.
        batch: the batch.
        snapshots: numbers of steps that the attack records.

    Raises:
        InputError: the file is of another batch.
    """
    if not path.is_file():
        return None
    try:
        # Nothing is unpickled, so that a file cannot run code.
        saved = load_tensors(path)
        found = saved.pop("batch")
        state = State(**saved)
        # Before the batch is compared: a damaged file may say anything about its batch.
        _check(state, batch, snapshots)
    except (InputError, TypeError, KeyError, AttributeError, ValueError) as error:
        kept = path.with_name(f"{path.name}.damaged")
        path.replace(kept)
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        logging.warning(
            "%s: damaged (%s); renamed to %s, and the batch begins anew", path, reason, kept.name
        )
        return None
    if found != what:
        raise InputError(f"{path}: the state of other utterances, audio or texts; remove it")
    device = batch.inputs.device
    state.inputs, state.stalled = state.inputs.to(device), state.stalled.to(device)
    state.running, state.spent = state.running.to(device), state.spent.to(device)
    state.snapshots = {step: tensor.to(device) for step, tensor in state.snapshots.items()}
    state.costs = {step: tensor.to(device) for step, tensor in state.costs.items()}
    state.values = {step: tensor.to(device) for step, tensor in state.values.items()}
    state.kept = {name: tensor.to(device) for name, tensor in state.kept.items()}
    return state


def with_state(outer: State, inner: State, began: int) -> State:
    """A state that contains the state of one of its attacks, to be saved as one.

    Args:
        outer: of the whole.
        inner: of the part, which has no snapshot yet.
        began: steps of the whole before the part.
    """
    # Flat, because a saved state holds tensors and numbers alone, not a state in a state.
    within = {
        "inputs": inner.inputs,
        "stalled": inner.stalled,
        "running": inner.running,
        "gradients": inner.spent[:, 0],
        "queries": inner.spent[:, 1],
        **{f"kept {name}": tensor for name, tensor in inner.kept.items()},
    }
    kept = outer.kept | {f"{WITHIN}{name}": tensor for name, tensor in within.items()}
    return replace(outer, step=began + inner.step, kept=kept, seconds=outer.seconds + inner.seconds)


def state_within(outer: State, began: int) -> State:
    """The inner state that `with_state` has put into a state."""
    within = {k.removeprefix(WITHIN): v for k, v in outer.kept.items() if k.startswith(WITHIN)}
    own = {k.removeprefix("kept "): v for k, v in within.items() if k.startswith("kept ")}
    spent = torch.stack([within["gradients"], within["queries"]], dim=1)
    inputs, stalled, running = (within[name] for name in ("inputs", "stalled", "running"))
    return State(outer.step - began, inputs, stalled, running, spent, kept=own)


def _check(state: State, batch: Batch, snapshots: Sequence[int]) -> None:
    """Refuse a state that no attack on the batch can have left.

    Raises:
        ValueError: says what is wrong.
    """
    rows = len(batch.names)
    for values in (state.inputs, *state.snapshots.values()):
        if values.shape != batch.inputs.shape or values.dtype != torch.float32:
            raise ValueError(f"inputs of {tuple(values.shape)} {values.dtype}")
        if not values.isfinite().all():
            raise ValueError("NaN or infinity")
    of_each = [*state.values.values(), *state.kept.values(), state.running, state.stalled]
    if any(len(values) != rows for values in of_each):
        raise ValueError("not of as many utterances")
    for name, values in state.kept.items():
        if values.numel() != rows and values.shape != batch.inputs.shape:
            raise ValueError(f"{name} of {tuple(values.shape)}")
    if any(spent.shape != (rows, 2) for spent in (state.spent, *state.costs.values())):
        raise ValueError("no numbers of gradients and queries")
    types = (state.running.dtype, state.stalled.dtype, state.spent.dtype)
    if types != (torch.bool, torch.long, torch.long):
        raise ValueError("tensors of other types")
    if not state.step >= 1 or not math.isfinite(state.seconds):
        raise ValueError(f"step {state.step} after {state.seconds} s")
    if any(number not in snapshots for number in state.snapshots):
        raise ValueError(f"snapshots of {sorted(state.snapshots)} steps")
    # The attack goes on behind these steps and cannot record them any more.
    lacking = [n for n in snapshots if n <= state.step and n not in state.snapshots]
    if lacking:
        raise ValueError(f"step {state.step} without the snapshots of {lacking} steps")
