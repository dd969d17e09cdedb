"""Run commands of this project, each in a fork of this process.

run.pl starts it. Standard input is a socket with a line of JSON for each command: `line`, as bash
would run it; `log`, the file at whose end its output goes; `environment`, variables of its own.
With it comes the write end of a pipe for the exit code, 128 + the signal where it was killed.

What one command has imported late, or has called first, is ready for the next ones.
"""

import ast
import atexit
import contextlib
import functools
import gc
import importlib
import importlib.util
import json
import os
import runpy
import shlex
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from espnet_ext.bin import cli
from espnet_ext.bin.training import TRAININGS
from espnet_ext.jobs.signals import end_with_parent


def main() -> None:
    """Serve until the socket is closed."""
    # Commands must not read requests: their standard input is empty.
    channel = socket.socket(fileno=os.dup(0))
    _put(os.open(os.devnull, os.O_RDONLY), 0)
    cli.quiet_libraries()
    imported: set[str] = set()
    used, tell = os.pipe()
    # Neither end may wait: what is lost here only costs later commands some time.
    os.set_blocking(used, False)
    os.set_blocking(tell, False)
    answers: dict[int, int] = {}  # process -> where its exit code goes

    def _answer(*_: object) -> None:
        # Signals of several children may come as one, so all are asked.
        for process in list(answers):
            with contextlib.suppress(ChildProcessError, KeyError):  # answered meanwhile
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    code = os.waitstatus_to_exitcode(status)
                    with os.fdopen(answers.pop(process), "w") as answer:
                        # Python gives the signal as a negative number, shells as 128 + the signal.
                        answer.write(str(code if code >= 0 else 128 - code))

    signal.signal(signal.SIGCHLD, _answer)
    while received := _receive(channel):
        request, answer = received
        _put(os.open(request["log"], os.O_WRONLY | os.O_APPEND), 1, 2)
        _, _, module, *arguments = shlex.split(request["line"])
        # Once for each command, before the first fork that runs it, which inherits what is
        # imported.
        if module not in imported:
            imported.add(module)
            for name in needed(module):
                # The command says what is wrong when it meets the same error.
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        _prepare(used)
        gc.freeze()  # a collection in a fork would copy the memory that it looks at
        process = os.fork()
        if process == 0:
            # The fork has the handler and the handles of its parent, and answers for nobody.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A fork is not asked to end when this process is killed, unless it says so itself.
            end_with_parent()
            channel.close()
            # run.pl sees the end of a pipe only when nobody holds its other end open.
            for handle in (used, answer, *answers.values()):
                os.close(handle)
            os.environ.update(request["environment"])
            os.write(1, os.fsencode(request["line"]) + b"\n")
            sys.argv[1:] = arguments
            _run_and_end(module, tell)
        answers[process] = answer
        _answer()  # it may have ended before it was known


def _done_once() -> "Mapping[str, functools._lru_cache_wrapper[object]]":
    """What takes long when it is first called, of modules that are imported."""
    # Looked up and not imported: what no command has used is not needed.
    compat, findings = map(sys.modules.get, ("espnet_ext.compat", "espnet_ext.report.findings"))
    sentences = {} if findings is None else {"sentences": findings.macros}
    return sentences if compat is None else compat.CHECKED_LATER | sentences


def _prepare(used: int) -> None:
    """Do for all further commands what earlier ones had to do, each for itself."""
    lines = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(used, 1 << 16):
            lines += more
    for name in dict.fromkeys(lines.decode().split()):
        with contextlib.suppress(Exception):
            if name in (once := _done_once()):
                once[name]()
            else:
                importlib.import_module(name)


def _tell(tell: int, before: set[str]) -> None:
    """Name what this command has used that it did not find, one line each."""
    packages = {name.split(".")[0] for name in before}
    # Further packages may start threads, which no fork has.
    names = [n for n in sys.modules if n not in before and n.split(".")[0] in packages]
    names += [n for n, call in _done_once().items() if call.cache_info().currsize]
    with contextlib.suppress(BlockingIOError):  # the pipe is full
        for name in names:
            os.write(tell, os.fsencode(name) + b"\n")


def _run_and_end(module: str, tell: int) -> NoReturn:
    """Run a command as `python -m` does, and end without clearing the memory that forks share."""
    code: object = 0
    before = set(sys.modules)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    # Whatever it is, it ends this command as it would end a process of its own.
    except BaseException:
        traceback.print_exc()
        code = 1
    # What `sys.exit` does with a text.
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    _tell(tell, before)
    # `os._exit` does none of this: what commands have registered, and what is still in buffers.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next request and where its answer goes; None when there are no more."""
    # The handle comes with the first bytes; a long line may need further ones.
    data, handles, *_ = socket.recv_fds(channel, 1 << 16, 1)
    while data and not data.endswith(b"\n"):
        data += channel.recv(1 << 16)
    return (json.loads(data), handles[0]) if data else None


def _put(opened: int, *places: int) -> None:
    """Make file descriptors refer to an opened file."""
    for place in places:
        os.dup2(opened, place)
    os.close(opened)


def needed(command: str) -> list[str]:
    """Modules that a command imports when it has something to do, and names of what is in them.

    Commands import them inside of functions, for help and messages about options must not wait for
    PyTorch.

    Args:
        command: name of its module.

    Example:
        >>> "espnet_ext.attack.run" in needed("espnet_ext.bin.asr_attack")
        True
    """
    training = TRAININGS.get(command.rpartition(".")[2])
    own = [training.module] if training else _imported_in_functions(command)
    return own + _imported_in_functions(cli.__name__) if own else []


def _imported_in_functions(module: str) -> list[str]:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:  # the command will say so
        return []
    # From the source, because functions that have not been called have imported nothing yet.
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    names: list[str] = []
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for node in (n for n in ast.walk(function) if isinstance(n, ast.ImportFrom)):
            names += [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


if __name__ == "__main__":
    main()
