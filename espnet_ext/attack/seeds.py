"""Random numbers that depend on what they are for, and on nothing that was drawn before."""

import contextlib
import hashlib
from collections.abc import Iterator

import numpy as np


def generator_of(name: str, key: str) -> np.random.Generator:
    """Random numbers of an utterance: the same in whatever batch, shard or order.

    Args:
        name: utterance id.
        key: seed and purpose.
    """
    digest = hashlib.sha256(f"{key} {name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@contextlib.contextmanager
def seeded(key: str, device: str = "cpu") -> Iterator[None]:
    """The global generators of NumPy and PyTorch by `key`; afterwards as before.

    Dropout draws from the one, ART from the other, its data loaders from both.

    Args:
        key: seed and purpose.
        device: type of a further device whose generator is seeded, e.g. "cuda".
    """
    import torch

    before = np.random.get_state()
    digest = hashlib.sha256(key.encode()).digest()
    try:
        np.random.seed(int.from_bytes(digest[:4], "big"))
        devices = [torch.cuda.current_device()] if device == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(generator_of("dropout", key).integers(2**31)))
            yield
    finally:
        np.random.set_state(before)
