"""Random numbers that depend on their purpose alone, and not on what was drawn before."""

import contextlib
import hashlib
from collections.abc import Iterator

import numpy as np


def generator_of(name: str, key: str) -> np.random.Generator:
    """Random numbers of an utterance, the same in every batch, shard and order.

    Args:
        name: utterance id.
        key: seed and purpose.
    """
    # Python's own hash of a text differs from process to process.
    digest = hashlib.sha256(f"{key} {name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@contextlib.contextmanager
def seeded(key: str, device: str = "cpu") -> Iterator[None]:
    """Seed the global generators of NumPy and PyTorch by `key`; all as before when the block ends.

    Dropout draws from PyTorch's, ART from NumPy's, and the data loaders of ART from both.

    Args:
        key: seed and purpose.
        device: type of a further device whose generator is seeded, e.g. "cuda".
    """
    import torch

    # PyTorch's generators are put back by `fork_rng`; NumPy has nothing like it.
    before = np.random.get_state()
    digest = hashlib.sha256(key.encode()).digest()
    try:
        # NumPy's global generator takes 32 bits.
        np.random.seed(int.from_bytes(digest[:4], "big"))
        devices = [torch.cuda.current_device()] if device == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(int(generator_of("dropout", key).integers(2**31)))
            yield
    finally:
        np.random.set_state(before)
