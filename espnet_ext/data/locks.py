"""One process at a time: locks on what a second one must not write as well.

A lock is the operating system's (`flock`) on a small hidden file. It ends with the process that
holds it, however that dies: a file that a killed process has left is no obstacle. On NFS the server
keeps it, so that it holds between machines, unless the file system is mounted with `nolock`. Where
there are no locks a warning says so and work goes on.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from espnet_ext.errors import InputError

KEPT_SECONDS = 24 * 3600.0
"""How long files are kept that a process on another machine may still be writing."""

# A lock belongs to one opening of a file: by opening it again a process would exclude itself.
_held: dict[Path, tuple[int, int]] = {}  # lock file -> its handle, blocks of this process in it
_guard = threading.Lock()
_tidied: set[tuple[Path, str]] = set()  # where this process has looked for what killed ones left


@contextlib.contextmanager
def locked(path: str | Path, part: str = "") -> Iterator[None]:
    """Let no other process that asks for the same write `path` while the block runs.

    Blocks of one process do not exclude each other.

    Args:
        path: the directory or file that is written; it need not be there.
        part: what of it, where several processes may write at once: "shard1of4".

    Raises:
        InputError: another process has the lock; names it.

    Example:
        >>> with locked("dump/raw/train"):   # doctest: +SKIP
        ...     write_all()
    """
    path = Path(path).absolute()
    # Beside a directory that may be refused later, or be absent; inside of a mount point.
    nearest = next(p for p in path.parents if p.exists())
    folder = path.parent if os.access(nearest, os.W_OK) else path
    file = folder / ".".join(["", path.name, *([part] if part else []), "lock"])
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    with _guard:
        if file not in _held:
            _held[file] = _open_locked(file, path), 0
        _held[file] = _held[file][0], _held[file][1] + 1
    try:
        yield
    finally:
        with _guard:
            handle, count = _held.pop(file)
            if count > 1:
                _held[file] = handle, count - 1
            else:
                # Removed while it is still locked: afterwards it may be the file of the next
                # process.
                with contextlib.suppress(OSError):  # nothing of worth is in it
                    file.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    os.close(handle)
                for directory in made:
                    with contextlib.suppress(OSError):  # something was written there
                        directory.rmdir()


def _open_locked(file: Path, path: Path) -> int:
    """Open the lock file of `path` and take the lock, or raise."""
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # left by a process of another user
            handle = os.open(file, os.O_RDONLY)
        try:
            if not take_or_warn(handle):
                raise InputError(
                    f"{path}: {holder(file)} writes here; wait until it has ended, or stop it"
                )
            if is_at(handle, file):
                # There is a lock all the same on a full disk, and on a file of another user.
                with contextlib.suppress(OSError):
                    sign(handle, Path(sys.argv[0]).stem, os.getpid())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # removed by the process that had it


def take(handle: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Take or change the lock of an open file; tell whether nobody else has it.

    Args:
        handle: a descriptor, open for reading and writing.
        shared: others may have it shared as well.
        wait: until nobody else has it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_or_warn(handle: int, *, shared: bool = False, wait: bool = False) -> bool:
    """`take`, or a warning where the file system has no locks; the work goes on without one."""
    try:
        return take(handle, shared=shared, wait=wait)
    except OSError as error:
        logging.warning("no locks here (%s): see that nothing else writes here", error.strerror)
        return True


def is_at(handle: int, file: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def aside(folder: Path, kind: str, suffix: str | None = None) -> Iterator[Path]:
    """Yield a new file or folder that nobody else writes; what is left at the end is removed.

    What killed processes have left, which nobody has locked, is removed before. On some file
    systems (BeeGFS, Lustre mounted with localflock) locks do not hold between machines: what
    another one was writing is taken for abandoned when it is a day old.

    Args:
        folder: in which it lies.
        kind: with which the names of all like it begin.
        suffix: of a file; None for a folder.
    """
    prefix = f"{kind}{socket.gethostname()}-"
    if (folder, kind) not in _tidied:
        _tidied.add((folder, kind))
        with os.scandir(folder) as entries:
            found = [Path(entry) for entry in entries if entry.name.startswith(kind)]
        for path in found:
            with contextlib.suppress(OSError):  # it is in nobody's way; another one removes it too
                age = time.time() - path.stat().st_mtime
                if not path.name.startswith(prefix) and age < KEPT_SECONDS:
                    continue
                handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
                try:
                    if take(handle):
                        _remove(path)
                finally:
                    os.close(handle)
    while True:
        if suffix is None:
            path = Path(tempfile.mkdtemp(dir=folder, prefix=prefix))
            handle = os.open(path, os.O_RDONLY)
        else:
            handle, name = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=suffix)
            path = Path(name)
        # Between these lines it looks like that of a process that was killed.
        with contextlib.suppress(OSError):  # no locks here
            if not (take(handle) and is_at(handle, path)):
                os.close(handle)
                continue
        break
    try:
        yield path
    finally:
        _remove(path)
        with contextlib.suppress(OSError):  # it was only locked by this one
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sign(handle: int, command: str, process: int, *, add: bool = False) -> None:
    """Write into a lock file who has it, for the messages of others.

    Args:
        handle: of the file.
        command: what people know it by.
        process: its id.
        add: leave what stands there, for others have the lock as well.
    """
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    who = {"command": command, "process": process, "host": socket.gethostname(), "since": since}
    if not add:
        os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(who).encode() + b"\n", os.fstat(handle).st_size)


def holder(file: Path) -> str:
    """Who has a lock, as its file tells.

    Example:
        >>> holder(Path("dump/.train.lock"))   # doctest: +SKIP
        'another format_data, process 4711 on host n1, since 2026-11-27 10:00:00,'
    """
    try:
        listed = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        # Of those that have had it at the same time, one that runs, as any of another machine does.
        running = []
        for who in listed:
            # Signal 0 asks whether a process exists; one of another user answers PermissionError.
            with contextlib.suppress(ProcessLookupError):
                with contextlib.suppress(PermissionError):
                    here = who["host"] == socket.gethostname()
                    os.kill(who["process"] if here else os.getpid(), 0)
                running.append(who)
        who = (running or listed)[-1]
        text = (
            f"another {who['command']}, process {who['process']} on host {who['host']}, since "
            f"{who['since']},"
        )
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
    return text if running else f"{text} has ended, but something that it started (fuser {file})"
