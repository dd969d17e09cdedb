"""Every state of its directory in which a process can leave it when it is killed."""

import hashlib
import os
import re
import shutil
import sys
import traceback
from pathlib import Path

CHANGES = ("open", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.rmdir")
KEPT = re.compile(r"tensorboard|pictures|images")


def forked(work, *arguments):
    """Call `work` in a process of its own that inherits what is imported; its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work(*arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def states(directory, destination, work):
    """Copies of `directory` as `kill -9` could leave it at any file operation of `work`.

    Before each operation, and in the middle of each write, in which a file has half its bytes.
    Operations that change nothing give one copy.

    Returns:
        the copies, in order.
    """
    assert forked(_watched, Path(directory), Path(destination), work) == 0
    return sorted(Path(destination).iterdir())


def _watched(directory, destination, work):
    destination.mkdir()
    seen, written, busy = set(), None, False

    def copy(half=None):
        target = destination / f"{len(seen):05}"
        shutil.copytree(directory, target, symlinks=True)
        if half is not None:
            os.truncate(target / half, (target / half).stat().st_size // 2)
        content = fingerprint(target)
        if content in seen:
            shutil.rmtree(target)
        seen.add(content)

    def watch(event, arguments):
        nonlocal written, busy
        if busy or event not in CHANGES or not directory.exists():
            return
        busy = True
        try:
            path = arguments[0]
            if isinstance(path, int) or not Path(os.fsdecode(path)).is_relative_to(directory):
                return
            if written is not None and (directory / written).is_file():
                copy(half=written)
            copy()
            relative = Path(os.fsdecode(path)).relative_to(directory)
            opened = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            written = relative if opened and not KEPT.search(str(relative)) else None
        finally:
            busy = False

    sys.addaudithook(watch)
    work()
    busy = True
    copy()


def fingerprint(directory):
    """Names, links and contents below a directory, but for pictures and logs."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if KEPT.search(str(path.relative_to(directory))) or path.is_dir():
            continue
        # The name of a temporary file is drawn.
        digest.update(re.sub(r"\.[a-z0-9_]{8}(\.\w+)?$", "", path.name).encode())
        digest.update(str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
    return digest.hexdigest()
