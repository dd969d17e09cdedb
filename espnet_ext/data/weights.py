"""Reading weights safely, and writing them."""

import datetime
import logging
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_ext.data.archives import FREE_GROWTH, GROWTH
from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.files import write_binary
from espnet_ext.errors import InputError

GIVE_WEIGHTS = "give the *.pth of an epoch or an average, e.g. valid.acc.ave.pth"

SCALAR = np.float64(0.0).__reduce__()[0]
# What trainings of ESPnet save beside tensors, none of which runs anything.
TRAINING_STATE: tuple[object, ...] = (
    datetime.timedelta,
    np.dtype,
    # By which NumPy's scalars are rebuilt, under the names of NumPy 1 and 2.
    *((SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int64")),
)


class UnsafeFileError(InputError):
    """Reading a file could run code."""


_user_allows: ContextVar[bool | None] = ContextVar("what the user says of pickles", default=None)


@contextmanager
def pickles(allowed: bool) -> Iterator[None]:
    """Inside the block only `allowed` decides whether checkpoints may be unpickled.

    Models are built in such a block, because arguments of their parts come from configurations,
    which may be a stranger's.

    Args:
        allowed: what the user has said on the command line, or to a loader.

    Example:
        >>> with pickles(False):
        ...     may_unpickle(True)
        False
    """
    token = _user_allows.set(allowed)
    try:
        yield
    finally:
        _user_allows.reset(token)


def may_unpickle(asked: bool = False) -> bool:
    """Whether checkpoints may be unpickled: as `pickles` says; outside of it, as `asked`."""
    said = _user_allows.get()
    return asked if said is None else said


def read_weights(path: str | Path, allow_pickle: bool = False) -> dict[str, torch.Tensor]:
    """Read the state dictionary of a model onto the CPU.

    Args:
        path: a file that `torch.save` wrote.
        allow_pickle: unpickle without restriction. A pickle can run any code when it is
            loaded: only for files whose source you trust.

    Raises:
        InputError: the file is missing, is of another sort (says of which), is not a state
            dictionary, needs `allow_pickle`, or has values that are not finite.
    """
    state = load_tensors(path, allow_pickle)
    # DeepSpeed wraps the weights, and so do Resemblyzer and openai-whisper.
    for wrapper in ("module", "model_state", "model_state_dict"):
        state = state.get(wrapper, state) if isinstance(state, dict) else state
    if may_unpickle(allow_pickle) and isinstance(state, dict):  # what made it a pickle
        state = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)} or state
    if not isinstance(state, dict):
        raise InputError(
            f"{path}: holds a {type(state).__name__}, not the weights of a model; {GIVE_WEIGHTS}"
        )
    if not state or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    ):
        raise InputError(f"{path}: {_other_content(state)}; {GIVE_WEIGHTS}")
    # Tensors that are not all in the file, such as views with a stride of zero: to look at all of
    # their values would take all memory, or fail.
    for name, value in state.items():
        if value.is_meta or value.is_nested or value.layout is not torch.strided:
            raise InputError(f"{path}: {name} is not a plain tensor; {GIVE_WEIGHTS}")
    claimed = sum(value.numel() * value.element_size() for value in state.values())
    _check_growth(path, claimed, "its tensors claim")
    if all(name.startswith("module.") for name in state):  # so does DistributedDataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    check_finite(state, path)
    return state


def check_finite(state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Refuse weights that a training which diverged has left behind.

    Args:
        state: tensors by name; those of whole numbers, and masks, which hide with minus
            infinity, are not looked at.
        path: their file, for the message.

    Raises:
        InputError: names the first tensor with NaN or infinity, and says how many there are.
    """
    wrong = [
        name
        for name, value in state.items()
        if (value.is_floating_point() or value.is_complex())
        and "mask" not in name.rsplit(".", 1)[-1]
        and not torch.isfinite(value).all()
    ]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} of {len(state)} tensors have values that are not finite, the "
            f"first is {wrong[0]}: the training has diverged; give the weights of an earlier epoch"
        )


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
    write_binary(path, lambda file: torch.save(dict(weights), file))


def load_tensors(
    path: str | Path,
    allow_pickle: bool = False,
    known: Sequence[object] = (),
) -> Any:
    """What `torch.save` wrote, onto the CPU, without running anything that is in it.

    Args:
        path: the file.
        allow_pickle: see `read_weights`.
        known: classes without behaviour that may be in it, such as `TRAINING_STATE`.

    Raises:
        InputError: the file is missing, damaged or of another sort, or needs `allow_pickle` or a
            package that is not installed.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory, not weights; {GIVE_WEIGHTS}")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; has the training stage been run?")
    sort = file_sort(path)
    if sort.name not in ("torch", "pickle"):
        raise InputError(f"{path}: not weights but {sort.what}; {sort.cure or GIVE_WEIGHTS}")
    check_sums(path)
    if may_unpickle(allow_pickle):
        logging.warning("%s: unpickled without restriction; it can run any code", path)
        try:
            if sort.name == "pickle":
                with path.open("rb") as file:
                    return pickle.load(file)  # noqa: S301  the user has said so
            return torch.load(path, map_location="cpu", weights_only=False)
        except (ImportError, AttributeError) as error:
            raise InputError(f"{path}: needs a package that is not installed ({error})") from error
        except Exception as error:  # whatever the code in it raises
            raise InputError(f"{path}: cannot be unpickled ({_line(error)})") from error
    try:
        with torch.serialization.safe_globals([*known]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names: set[str] = set()  # the strings in its pickle
        with suppress(zipfile.BadZipFile, StopIteration, ValueError, OSError):
            archive = zipfile.ZipFile(path)
            data = next(n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "data.pkl")
            found = pickletools.genops(archive.read(data))
            names = {arg for _, arg, _ in found if isinstance(arg, str)}
        if not known and sort.name == "torch" and {"model", "optimizers"} <= names:
            raise InputError(f"{path}: {_other_content(names)}; {GIVE_WEIGHTS}") from error
        raise UnsafeFileError(
            f"{path}: holds more than tensors, and reading it can run any code; if you trust its "
            "source, say --allow_pickle true"
        ) from error
    except Exception as error:  # torch.load raises whatever its parts raise
        raise InputError(f"{path}: damaged or not a PyTorch file ({_line(error)})") from error


def _check_growth(path: str | Path, size: int, what: str) -> None:
    """Refuse a file that stands for many more bytes than it has."""
    if size > FREE_GROWTH + GROWTH * Path(path).stat().st_size:
        raise InputError(
            f"{path}: {what} {size / 1e9:.3g} GB, far more than the file has; {GIVE_WEIGHTS}"
        )


def check_sums(path: Path) -> None:
    """Refuse a file that was damaged on its way: `torch.load` compares no checksum.

    Raises:
        InputError: it is damaged, or would take far more memory than the file has.
    """
    if not zipfile.is_zipfile(path):
        return  # of an earlier PyTorch, which wrote none
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch compresses nothing.
            unpacked = sum(info.file_size for info in archive.infolist())
            _check_growth(path, unpacked, "would take")
            damaged = archive.testzip()
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
        raise InputError(f"{path}: damaged ({_line(error)}); copy it again") from error
    if damaged is not None:
        raise InputError(f"{path}: damaged (wrong checksum of {damaged}); copy it again")


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _other_content(names: Iterable[object]) -> str:
    """What a file is that holds a dictionary of these names, but not of tensors."""
    words = [str(name) for name in names]
    if {"model", "optimizers"} <= set(words):
        return "the state of a training (model, optimisers, epoch), not weights alone"
    if not words:
        return "holds no tensor"
    return f"not the weights of a model, it holds {', '.join(words[:5])}"
