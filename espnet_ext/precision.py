"""Single precision that is the same on a GPU as on a CPU, and half precision where it helps."""

import contextlib
import logging
from collections.abc import Iterator

import torch

from espnet_ext.errors import InputError


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Let cuDNN convolve in single precision; all as before when the block ends.

    PyTorch lets it use TF32, which keeps 10 bits of a factor's fraction out of 23, so that scores,
    losses and gradients differ from those of a CPU in the fourth digit. Does nothing on a CPU.

    Example:
        >>> with full_precision():
        ...     torch.backends.cudnn.allow_tf32
        False
    """
    now = torch.backends.cudnn
    with now.flags(
        enabled=now.enabled,
        benchmark=now.benchmark,
        deterministic=now.deterministic,
        allow_tf32=False,
    ):
        yield


def check_autocast(autocast: str | None, device: torch.device) -> None:
    """Refuse another mixed precision than bfloat16, and warn where that is slower.

    On a CPU with AMX or AVX512-BF16 a step of an attack takes half of its time; on others PyTorch
    converts back and forth, and it takes 1.45 to 2.3 times as long, on an AMD EPYC 7003 15 times.

    Raises:
        InputError: neither "bfloat16" nor None.
    """
    if autocast not in (None, "bfloat16"):
        raise InputError(f"autocast must be 'bfloat16' or None, not '{autocast}'")
    # PyTorch has no public way to ask for these two instruction sets.
    asked = (
        getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16")
    )
    if autocast and device.type == "cpu" and not any(has is None or has() for has in asked):
        logging.warning(
            "autocast: this CPU has neither AMX nor AVX512-BF16: bfloat16 takes 1.5 to 15 times "
            "as long on it as full precision; leave autocast out, or use a GPU"
        )
