"""Models as they are attacked and measured: frozen, in single precision, or half where it helps."""

import contextlib
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager

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
    # The context manager sets all four flags, so those that stay are given as they are.
    with now.flags(
        enabled=now.enabled,
        benchmark=now.benchmark,
        deterministic=now.deterministic,
        allow_tf32=False,
    ):
        yield


def fast_in_half(device: torch.device) -> bool:
    """Whether bfloat16 is no slower than full precision: not on a CPU without its instructions.

    Example:
        >>> fast_in_half(torch.device("cuda"))
        True
    """
    # PyTorch has no public way to ask for these two instruction sets.
    asked = (
        getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16")
    )
    return device.type != "cpu" or any(has is None or has() for has in asked)


def check_autocast(autocast: str | None, device: torch.device) -> None:
    """Refuse any mixed precision but bfloat16, and warn where bfloat16 is slower.

    On a CPU with AMX or AVX512-BF16 a step of an attack takes half of its time; on others PyTorch
    converts back and forth, and it takes 1.45 to 2.3 times as long, on an AMD EPYC 7003 15 times.

    Raises:
        InputError: neither "bfloat16" nor None.
    """
    if autocast not in (None, "bfloat16"):
        raise InputError(f"autocast must be 'bfloat16' or None, not '{autocast}'")
    if autocast and not fast_in_half(device):
        logging.warning(
            "autocast: this CPU has neither AMX nor AVX512-BF16: bfloat16 takes 1.5 to 15 times "
            "as long on it as full precision; leave autocast out, or use a GPU"
        )


def set_mode(model: torch.nn.Module, train: bool) -> None:
    """Training or evaluation mode; the model's own flag, by which it draws crops, stays off."""
    model.train(train)
    # After `train`, which sets the flag of every module.
    model.training = False


@contextlib.contextmanager
def frozen(model: torch.nn.Module, train: bool = False) -> Iterator[torch.nn.Module]:
    """No parameter gradients and no TF32; everything is as before when the block ends.

    Gradients that parameters have already are neither used nor cleared.

    Args:
        model: any module.
        train: whether to use training mode, whose changes of buffers (statistics of BatchNorm) are
            undone at the end; evaluation mode otherwise, which changes none.
    """
    # Often around a single pass of a small model: what is so already is not set again.
    before = [(module, module.training) for module in model.modules()]
    trainable = [(p, p.grad) for p in model.parameters() if p.requires_grad]
    # Evaluation mode moves no statistics, so nothing has to be kept.
    buffers = [(b, b.clone()) for b in model.buffers()] if train else []
    try:
        for parameter, _ in trainable:
            parameter.requires_grad_(False)
        if train or any(training for _, training in before):
            set_mode(model, train)
        with full_precision():
            yield model
    finally:
        for module, training in before:
            if module.training != training:
                module.training = training
        for parameter, gradient in trainable:
            # Set again: a training that attacks its own model goes on with the gradients it has
            # collected.
            parameter.requires_grad_(True).grad = gradient
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def plain_recurrence(model: torch.nn.Module) -> AbstractContextManager[object]:
    """A block without cuDNN where a model has recurrent layers.

    cuDNN has no backward pass for them in evaluation mode; PyTorch's own has.
    """
    recurrent = any(isinstance(module, torch.nn.RNNBase) for module in model.modules())
    return torch.backends.cudnn.flags(enabled=False) if recurrent else contextlib.nullcontext()
