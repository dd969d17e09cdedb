"""Run commands of this project one after another, each in a fork of this process.

Standard input has a line of JSON for each: `line`, the command as bash would run it, and `log`, the
file at whose end its output goes. The answer on standard output is its exit code, 128 + the signal
where it was killed. run.pl starts it.
"""

import ast
import contextlib
import importlib
import importlib.util
import json
import os
import re
import runpy
import shlex
import sys
from pathlib import Path

from espnet_ext.bin import cli
from espnet_ext.jobs.signals import end_with_parent

NAME = re.compile(r"espnet_ext(\.\w+)+")  # of a module of this project


def main() -> None:
    """Serve until standard input ends; in a fork, run a command and return."""
    # The commands have neither of them.
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    _put(os.open(os.devnull, os.O_RDONLY), 0)
    cli.quiet_libraries()
    imported: set[str] = set()
    while request := requests.readline():
        line, log = (json.loads(request)[key] for key in ("line", "log"))
        _put(os.open(log, os.O_WRONLY | os.O_APPEND), 1, 2)
        _, _, module, *arguments = shlex.split(line)
        if module not in imported:
            imported.add(module)
            for name in needed(module):
                # The command says what is wrong when it meets the same error.
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        process = os.fork()
        if process == 0:
            requests.close()
            replies.close()
            end_with_parent()
            os.write(1, os.fsencode(line) + b"\n")
            sys.argv[1:] = arguments
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        print(code if code >= 0 else 128 - code, file=replies, flush=True)


def _put(opened: int, *places: int) -> None:
    """Let file descriptors stand for an opened file."""
    for place in places:
        os.dup2(opened, place)
    os.close(opened)


def needed(command: str) -> list[str]:
    """Modules that a command imports when it has something to do, and names of what is in them.

    Commands import them inside of functions, or name them in a string, for help and messages about
    options must not wait for PyTorch.

    Args:
        command: name of its module.

    Example:
        >>> "espnet_ext.attack.run" in needed("espnet_ext.bin.asr_attack")
        True
    """
    own = _named(command)
    return own + _named(cli.__name__) if own else []


def _named(module: str) -> list[str]:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:  # the command will say so
        return []
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    names: list[object] = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for node in (n for n in ast.walk(function) if isinstance(n, ast.ImportFrom)):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if isinstance(name, str) and NAME.fullmatch(name)]


if __name__ == "__main__":
    main()
