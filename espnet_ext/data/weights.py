"""Reading weights safely, and writing them."""

import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_ext.data.files import write_aside
from espnet_ext.errors import InputError


def read_weights(path: str | Path, allow_pickle: bool = False) -> dict[str, torch.Tensor]:
    """Read the state dictionary of a model onto the CPU.

    Args:
        path: a file that `torch.save` wrote.
        allow_pickle: unpickle without restriction. A pickle can run any code when it is
            loaded: only for files whose source you trust.

    Raises:
        InputError: the file is missing, is not a state dictionary, or needs `allow_pickle`.
    """
    state = load_tensors(path, allow_pickle)
    # DeepSpeed wraps the weights.
    state = state.get("module", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{path}: not the weights of a model; give a *.pth of an epoch or average")
    return state


def write_weights(path: str | Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the state dictionary of a model, the same bytes for the same weights.

    Args:
        path: the file; replaced only when the new one is whole.
        weights: tensors by name.

    Raises:
        InputError: it cannot be written there.
    """
    # By a path, `torch.save` would put the temporary name into the file, and what was made
    # with it, which is known by its bytes, would not be found again.
    with write_aside(path) as aside, aside.open("wb") as file:
        torch.save(dict(weights), file)


def load_tensors(path: str | Path, allow_pickle: bool = False, known: Sequence[type] = ()) -> Any:
    """What `torch.save` wrote, onto the CPU, without running anything that is in it.

    Args:
        path: the file.
        allow_pickle: see `read_weights`.
        known: classes without behaviour that may be in it.

    Raises:
        InputError: the file is missing or damaged, needs `allow_pickle`, or a package that is
            not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; has the training stage been run?")
    if allow_pickle:
        logging.warning("%s: unpickled without restriction; it can run any code", path)
    try:
        with torch.serialization.safe_globals(list(known)):
            return torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors, and reading it can run any code; if you trust its "
            "source, say --allow_pickle true (allow_pickle: true in a configuration)"
        ) from error
    except (ImportError, AttributeError) as error:
        raise InputError(f"{path}: needs a package that is not installed ({error})") from error
    except (RuntimeError, EOFError) as error:
        raise InputError(f"{path}: damaged or not a PyTorch file ({error})") from error
