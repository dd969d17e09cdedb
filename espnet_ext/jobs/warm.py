"""Many commands of this project in forks of one process that has imported what they need.

Python needs about ten seconds to import PyTorch, ESPnet and ART. A worker imports them once and
forks for each command that it is given: the command has a process, a log and memory of its own, as
if Python were started for it. `espnet_ext.bin.worker` is the far end.
"""

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from espnet_ext.jobs.array import listed_line

PROGRAM = "python3 -m espnet_ext.bin.worker"
# With what bash would do more than split words and take quotes away.
_FOR_BASH = re.compile(r"[\n;&|<>()$`*?~{}#!]")


def worker_line(command: str) -> str | None:
    """The line of a file of commands that a job runs, where a worker can run it as well.

    Args:
        command: of the job.

    Returns:
        `python3 -m espnet_ext.bin.x ...`; None for every other command, and for what needs a shell.

    Example:
        >>> worker_line("utils/run_line.sh exp/jobs.sh 3")   # doctest: +SKIP
        'python3 -m espnet_ext.bin.asr_attack --output_dir exp/a'
    """
    line = listed_line(command)
    if line is None or _FOR_BASH.search(line):
        return None
    try:
        words = shlex.split(line)
    except ValueError:  # quotes that do not end: bash says so
        return None
    ours = words[:2] == ["python3", "-m"] and words[2:] and words[2].startswith("espnet_ext.bin.")
    return line if ours else None


class Worker:
    """The near end of a process that runs commands, several at a time.

    Args:
        script: for bash, in a process group of its own; it runs `PROGRAM`.
    """

    def __init__(self, script: str) -> None:
        self._channel, far = socket.socketpair()
        self._sending = threading.Lock()
        with far:
            self.process = subprocess.Popen(
                ["bash", "-c", script],
                stdin=far.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(self, line: str, log: Path, environment: Mapping[str, str]) -> int:
        """Run a command.

        Args:
            line: see `worker_line`.
            log: file to which its output is appended.
            environment: variables that the worker lacks, or has with other values.

        Returns:
            its exit code, 128 + the signal if it was killed; that of the worker, if the worker has
            ended and will run nothing more.
        """
        request = {"line": line, "log": str(log), "environment": dict(environment)}
        # The worker holds the only other copy of the write end: reading ends when the exit code was
        # written or the worker has died.
        reply, answer = os.pipe()
        try:
            # Requests of several threads must not mix. A worker that has died leaves an empty
            # reply, see below.
            with self._sending, contextlib.suppress(BrokenPipeError):
                socket.send_fds(self._channel, [json.dumps(request).encode() + b"\n"], [answer])
        finally:
            os.close(answer)
        with os.fdopen(reply) as file:
            code = file.read()
        return int(code) if code else self.process.wait()

    def close(self) -> None:
        """Let the worker end, and wait for it."""
        self._channel.close()
        self.process.wait()
