"""Putting weights into a model, and saying what was read."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from espnet_ext.data.weights import read_weights
from espnet_ext.errors import InputError, summarize

Weights = Mapping[str, torch.Tensor]


def load_weights(
    model: torch.nn.Module, path: str | Path, allow_pickle: bool = False
) -> torch.nn.Module:
    """Put all weights of `path` into `model`; every name and shape must agree.

    Raises:
        InputError: names the tensors that are missing, left over, or of another shape.
    """
    state = upgraded(model, read_weights(path, allow_pickle))
    check_fits(model, state, path, "Give the config.yaml that was saved beside the checkpoint.")
    model.load_state_dict(state)
    return model


def check_fits(model: torch.nn.Module, state: Weights, path: str | Path, advice: str) -> None:
    """Refuse weights that are not those of a model.

    Args:
        model: the model.
        state: tensors by name.
        path: their file, for the message.
        advice: what to do, a sentence.

    Raises:
        InputError: names the tensors that are missing, left over, or of another shape.
    """
    own = model.state_dict()
    problems = [f"missing: {name}" for name in own if name not in state]
    problems += [f"not in the model: {name}" for name in state if name not in own]
    for name in (name for name in own if name in state):
        if state[name].is_complex() and not own[name].is_complex():
            problems.append(f"{name}: complex numbers")  # PyTorch would drop the imaginary parts
        if own[name].shape != state[name].shape:
            shapes = tuple(state[name].shape), tuple(own[name].shape)
            problems.append("{}: shape {}, the model has {}".format(name, *shapes))
    if problems:
        raise InputError(
            f"{path}: does not fit the model of this configuration:\n{summarize(problems)}\n"
            f"{advice}"
        )


def upgraded(model: torch.nn.Module, state: Weights) -> dict[str, torch.Tensor]:
    """`state` under the names of this ESPnet: 202611 renamed the output of its subsampling.

    Args:
        model: built by this ESPnet.
        state: weights of the same or an earlier release, or of OpenAI's Whisper.
    """
    own, upgraded = model.state_dict().keys(), {}
    for name, value in state.items():
        renamed = name.replace(".embed.out.0.", ".embed.out.")
        renamed = renamed.replace(".embed.out.1.", ".embed.pos_enc.")
        if renamed not in own:
            # ESPnet keeps OpenAI's encoder and decoder as parts of its own classes.
            renamed = re.sub(r"^(en|de)coder\.", r"\1coder.\1coders.", name)
        # A name that the model has is never changed, even where it looks like an old one.
        upgraded[renamed if name not in own and renamed in own else name] = value
    return upgraded


def load_init_param(
    init_param: str,
    model: torch.nn.Module,
    ignore_init_mismatch: bool = False,
    map_location: str = "cpu",
) -> None:
    """ESPnet's `--init_param`, read safely, with a table of what was loaded.

    Args:
        init_param: `<file>[:<source prefix>[:<destination prefix>[:<excluded prefixes>]]]`.
        model: the model to initialise.
        ignore_init_mismatch: whether to leave out tensors that the model lacks or has in another
            shape, instead of failing. A model of another task needs this: its heads differ.
        map_location: not used, the weights go where the model is.

    Raises:
        InputError: a tensor does not fit and mismatches are not ignored, or no tensor fits.
    """
    # ESPnet's syntax, in which fields at the end may be left out.
    path, source, destination, excluded = [*init_param.split(":"), "", "", ""][:4]
    unwanted = tuple(prefix for prefix in excluded.split(",") if prefix)
    # With the dot: `encoder` must not take `encoder_head` along.
    below, above = (f"{prefix}." if prefix else "" for prefix in (source, destination))
    given = {
        above + name.removeprefix(below): value
        for name, value in read_weights(path).items()
        if name.startswith(below) and not (unwanted and name.startswith(unwanted))
    }
    given = upgraded(model, given)
    own = model.state_dict()
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    rejected = [k for k in given if k not in fitting]
    # Before anything is refused: the table is what explains the refusal.
    logging.info("%s", initialisation_table(init_param, own, given, fitting))
    if not fitting:
        raise InputError(f"{init_param}: not one of its {len(given)} tensors fits the model")
    if rejected and not ignore_init_mismatch:
        raise InputError(
            f"{init_param}: tensors without a place in the model:\n{summarize(rejected)}\n"
            "Leave them out with --ignore_init_mismatch true."
        )
    model.load_state_dict({**own, **fitting})


def initialisation_table(init_param: str, own: Weights, given: Weights, fitting: Weights) -> str:
    """What was initialised from a checkpoint, one line per top-level module.

    Example::

        Initialised from exp/pretrain/valid.loss.best.pth
        module     loaded   new   left out
        decoder        52     0          0
        encoder       171     0          0
        heads           0    10          0
    """
    counts: dict[str, Counter[str]] = {}
    columns = [
        ("loaded", list(fitting)),
        ("new", [k for k in own if k not in fitting]),
        ("left out", [k for k in given if k not in fitting]),
    ]
    for column, names in columns:
        for name in names:
            counts.setdefault(name.split(".")[0], Counter())[column] += 1
    lines = [
        f"Initialised from {init_param}",
        f"{'module':<12}{'loaded':>8}{'new':>6}{'left out':>11}",
    ]
    lines += [
        f"{module:<12}{count['loaded']:>8}{count['new']:>6}{count['left out']:>11}"
        for module, count in sorted(counts.items())
    ]
    return "\n".join(lines)
