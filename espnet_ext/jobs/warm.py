"""Many commands of this project in few processes that have imported what the commands need.

Python needs about ten seconds to import PyTorch, ESPnet and ART. A worker imports them once and
forks for each command that it is given: the command has a process, a log and memory of its own, as
if Python were started for it. `espnet_ext.bin.worker` is the far end.
"""

import contextlib
import json
import re
import shlex
import subprocess
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
    """The near end of a process that runs commands one after another.

    Args:
        script: for bash, in a process group of its own; it runs `PROGRAM`.
        environment: of the worker and of its commands.
    """

    def __init__(self, script: str, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self.process.stdin and self.process.stdout
        self._requests, self._replies = self.process.stdin, self.process.stdout

    def run(self, line: str, log: Path) -> int:
        """Run a command whose output goes to the end of `log`.

        Returns:
            its exit code, 128 + the signal where it was killed; that of the worker where this has
            ended, and will run nothing more.
        """
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(json.dumps({"line": line, "log": str(log)}).encode() + b"\n")
            self._requests.flush()
        reply = self._replies.readline()
        return int(reply) if reply else self.process.wait()

    def close(self) -> None:
        """Let the worker end, and wait for it."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self.process.wait()
        self._replies.close()
