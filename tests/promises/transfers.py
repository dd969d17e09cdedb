"""Where the project's own code transfers something from the device to the host."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

import espnet_ext

OURS = str(Path(espnet_ext.__file__).parent)
THEIRS = str(Path(torch.__file__).parent)
READS = {"item", "tolist", "numpy", "cpu", "nonzero", "masked_select", "unique"}
GRADIENT = {"grad", "backward"}
READS |= {f"__{kind}__" for kind in ("bool", "int", "float", "index", "contains", "array")}


def caller() -> str | None:
    """File and line that called PyTorch, where it is ours."""
    frame = sys._getframe(1)
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        # PyTorch's CTC wants all lengths on the host, whoever calls it, and again in its backward
        # pass: what waits inside of autograd is told where we asked for the gradient. A `backward`
        # or a hook of ours is the nearer frame.
        if name == "ctc_loss" or (file == torch.autograd.__file__ and name in GRADIENT):
            return None
        if not file.startswith((THEIRS, __file__)) and file != warnings.__file__:
            ours = file.startswith(OURS)
            return f"{Path(file).name}:{frame.f_lineno}" if ours else None
        frame = frame.f_back
    return None


class _Reads(TorchFunctionMode):
    """Tells of calls that read a tensor on the host; on a CPU nothing else would show them."""

    def __init__(self, tell: Callable[[], None]):
        super().__init__()
        self.tell = tell

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        index = args[1] if name == "__getitem__" else None
        masked = torch.is_tensor(index) and index.dtype == torch.bool
        elsewhere = name == "to" and torch.device("cpu") in [
            torch.device(a) for a in args[1:] if isinstance(a, str | torch.device)
        ]
        on_cpu = args and torch.is_tensor(args[0]) and args[0].device.type == "cpu"
        if name in READS or masked or (elsewhere and not on_cpu):
            self.tell()
        return func(*args, **kwargs or {})


@contextlib.contextmanager
def host_transfers() -> Iterator[list[str]]:
    """The places in the package that wait for the device, one entry for each time."""
    places: list[str] = []

    def tell(*_arguments: object, **_options: object) -> None:
        if (place := caller()) is not None:
            places.append(place)

    before = torch.cuda.get_sync_debug_mode() if torch.cuda.is_available() else None
    with warnings.catch_warnings(), _Reads(tell):
        if before is not None:
            warnings.filterwarnings("always", message=".*synchronizing CUDA operation")
            warnings.showwarning = tell
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            if before is not None:
                torch.cuda.set_sync_debug_mode(before)
