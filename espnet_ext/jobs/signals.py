"""Leaving a block in good order when the user or a scheduler stops the program."""

import contextlib
import ctypes
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

# From linux/prctl.h: Python has no name for it.
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Let Linux send SIGTERM to this process when its parent dies, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when the block is left by SIGINT, SIGTERM, SIGHUP or an error.

    Raises:
        SystemExit: with 128 + the number of the signal.
    """

    def _leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # What nohup and a shell's `&` have set to be ignored stays ignored.
    caught = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, _leave) for number in caught}
    try:
        yield
    # `SystemExit` and `KeyboardInterrupt` are no `Exception`.
    except BaseException:
        stop()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
