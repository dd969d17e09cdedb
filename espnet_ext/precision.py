"""Single precision that is the same on a GPU as on a CPU."""

import contextlib
from collections.abc import Iterator

import torch


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
