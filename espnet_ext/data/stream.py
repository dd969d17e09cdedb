"""A stream of an audio file, as `espnet_ext.data.containers` finds it."""

from mmap import mmap
from typing import NamedTuple

Content = bytes | mmap

GET_AGAIN = "get the file again or leave it out"
SEVERAL = "several files in one; split it, or leave it out"


class Stream(NamedTuple):
    """A part of a file that libsndfile reads to its end.

    Attributes:
        content: bytes for libsndfile; None: the file as it is.
        samples: what the frames add up to in each channel; None: not counted.
        padding: how many of them the decoder may remove as padding of the encoder.
        exact: whether the header in `content` says how many samples decoding gives.
    """

    content: bytes | None
    samples: int | None = None
    padding: int = 0
    exact: bool = True


def cut_off(where: str, found: int, promised: int, unit: str = "samples") -> str:
    """The message about a file that ends too early."""
    return f"{where}: cut off, {promised} {unit} are promised and {found} can be read; {GET_AGAIN}"
