"""Run a `JobArray` on this machine: what Kaldi calls run.pl.

Where there are more jobs than may run at a time, a worker (`espnet_ext.jobs.warm`) runs those that
are commands of this project; bash runs all others.
"""

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from espnet_ext.data.files import disk_problem
from espnet_ext.errors import InputError
from espnet_ext.jobs.array import JobArray, head, tail
from espnet_ext.jobs.program import begin, say, say_of_stage
from espnet_ext.jobs.progress import progress_lines
from espnet_ext.jobs.signals import stopping
from espnet_ext.jobs.warm import PROGRAM, Worker, worker_line

GRACE_SECONDS = 5.0  # between asking a job to stop and killing it
# The job of a program that was killed (kill -9) ends itself, with all it has started.
# 'kill -0' only asks whether that program still exists; 'kill -TERM 0' reaches the whole process
# group, which each job has for itself.
_SCRIPT = """
(while kill -0 %d; do sleep 2; done; kill -TERM 0) < /dev/null > /dev/null 2>&1 &
%s
code=$?
kill $!
exit $code
"""


def run_jobs(array: JobArray) -> dict[int, int]:
    """Run all jobs of `array` that its option `pick` asks for, several at a time.

    Options used: `max-jobs-run`, `gpu`, `pick`, `progress-seconds`. A job that fails does
    not stop the others. SIGINT, SIGTERM and SIGHUP stop the jobs and raise `SystemExit`.

    Returns:
        Job number -> exit code, 128 + the signal for a job that was killed.

    Raises:
        InputError: an option has a bad value, or a log cannot be written.

    Example:
        >>> from espnet_ext.jobs.array import parse_arguments
        >>> arguments = ["JOB=1:2", "x.JOB.log", "test", "JOB", "-lt", "2"]
        >>> run_jobs(parse_arguments(arguments))   # doctest: +SKIP
        {1: 0, 2: 1}
    """
    slots = _slots(array)
    interval = array.number("progress-seconds", 60)
    codes, todo = begin(array, "run.pl")
    # A worker is worth its while where jobs would import the same one after another.
    runner = _Runner(array, slots, warm=len(todo) > len(slots))
    # Threads are enough: each only waits for a process.
    with runner, ThreadPoolExecutor(len(slots)) as pool, stopping(runner.stop):
        futures = {pool.submit(runner.run, number): number for number in todo}
        pending, due = set(futures), time.monotonic() + interval
        while pending:
            timeout = max(0.0, due - time.monotonic()) if interval else None
            _, pending = wait(pending, timeout, FIRST_COMPLETED)
            if interval and pending and time.monotonic() >= due:
                runner.say_progress(len(futures))
                due = time.monotonic() + interval
    codes.update({number: future.result() for future, number in futures.items()})
    return dict(sorted(codes.items()))


def _slots(array: JobArray) -> list[str | None]:
    """Return one entry for each job that may run at a time: its CUDA_VISIBLE_DEVICES."""
    gpus, limit = array.number("gpu", 0), array.number("max-jobs-run", 0)
    if limit == 0 and "max-jobs-run" in array.options:
        raise InputError("--max-jobs-run must be at least 1")
    if not gpus:
        # A container or taskset may allow fewer cores than the machine has; macOS has no such call.
        affinity = hasattr(os, "sched_getaffinity")
        return [None] * (
            limit or (len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1)
        )
    devices = visible_gpus()
    # GPUs that are too few for one more job stay unused.
    groups: list[str | None] = [
        ",".join(devices[i : i + gpus]) for i in range(0, len(devices) - gpus + 1, gpus)
    ]
    if not groups:
        say(f"warning: --gpu {gpus}, but {len(devices)} found (nvidia-smi -L); one job at a time")
        groups = [None]
    # With --max-jobs-run beyond the number of groups, jobs share GPUs.
    return [groups[i % len(groups)] for i in range(limit or len(groups))]


def visible_gpus() -> list[str]:
    """The GPUs that jobs may use, as CUDA_VISIBLE_DEVICES lists them.

    Returns:
        What CUDA_VISIBLE_DEVICES names; without it, a number of each GPU that `nvidia-smi` finds.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # For CUDA "-1" or an empty value means no GPU at all.
        return [device for device in visible.split(",") if device.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    except OSError:
        return []
    # A GPU that is partitioned lists its partitions below it, indented.
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]


def _start(command: str, output: int, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a command in bash that writes its output to a file descriptor."""
    with tempfile.TemporaryFile() as script:
        # Through a file, for the length of one argument of `bash -c` is limited.
        # Bash reads the script from its standard input, so the command must not read it too. The
        # newline ends a comment that the command may end with.
        script.write(os.fsencode(_SCRIPT % (os.getpid(), f"( {command}\n) < /dev/null")))
        script.seek(0)
        return subprocess.Popen(
            ["bash"],
            stdin=script,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a group of its own, to stop all it starts
        )


@contextlib.contextmanager
def _written(log: Path) -> Iterator[None]:
    """Say which log cannot be written: on a full disk it cannot say so itself."""
    try:
        yield
    except OSError as error:
        problem = disk_problem(error, log) or f"{log}: cannot write the log ({error.strerror})"
        raise InputError(problem) from None


class _Runner:
    """Runs jobs in the threads of a pool and can stop them all.

    Args:
        array: the jobs.
        slots: CUDA_VISIBLE_DEVICES of each job that may run at a time.
        warm: whether a worker runs the commands that it can.
    """

    def __init__(self, array: JobArray, slots: Iterable[str | None], *, warm: bool):
        self.array, self.warm = array, warm
        self._free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        self._ended: dict[int, tuple[int, float]] = {}  # exit code, seconds
        self._stopped = False
        self._worker: Worker | None = None

    def __enter__(self) -> "_Runner":
        return self

    def __exit__(self, *error: object) -> None:
        """Let the worker end."""
        if self._worker is not None:
            self._worker.close()

    def run(self, number: int) -> int:
        """Run one job; return its exit code. After `stop` nothing is run any more."""
        if self._stopped:
            return 1
        slot = self._free.get()
        try:
            log, started = self.array.log_of(number), time.monotonic()
            with _written(log), log.open("wb") as begun:
                begun.write(head(self.array.command_of(number)))
            # The job, its children and this program append: none of them writes over what another
            # one wrote.
            with log.open("ab", buffering=0) as output:
                code = self._run_in(slot, number, output.fileno())
                if code is None:
                    return 1
                with _written(log):
                    output.write(tail(code, time.monotonic() - started))
            with self._lock:
                del self._running[number]
                self._ended[number] = code, time.monotonic() - started
            return code
        finally:
            self._free.put(slot)

    def _run_in(self, slot: str | None, number: int, output: int) -> int | None:
        """Run a job in a slot; returns its exit code, or None if it may not run any more."""
        command = self.array.command_of(number)
        line = worker_line(command) if self.warm else None
        environment = {} if slot is None else {"CUDA_VISIBLE_DEVICES": slot}
        with self._lock:
            if self._stopped:
                return None
            worker = self._worker
            if line is None:
                process = _start(command, output, {**os.environ, **environment})
            else:
                # A worker that was killed, e.g. for lack of memory, is replaced for the remaining
                # jobs.
                if worker is None or worker.process.returncode is not None:
                    worker = self._worker = Worker(_SCRIPT % (os.getpid(), PROGRAM))
                process = worker.process
            self._running[number] = process
            self._started[number] = time.monotonic()
        if line is None or worker is None:
            code = process.wait()
        else:
            code = worker.run(line, self.array.log_of(number), environment)
        # Popen has -N for signal N, shells have 128 + N.
        return code if code >= 0 else 128 - code

    def say_progress(self, total: int) -> None:
        """Say how far all of `total` jobs are."""
        with self._lock:
            codes = {number: code for number, (code, _) in self._ended.items()}
            seconds = {number: lasted for number, (_, lasted) in self._ended.items()}
            now = time.monotonic()
            seconds |= {number: now - self._started[number] for number in self._running}
        for line in progress_lines(self.array, codes, seconds, total - len(seconds)):
            say_of_stage(line)

    def stop(self) -> None:
        """Start no more jobs and end those that run, with all their children."""
        with self._lock:
            # First, so that no thread starts a job that is not among those ended here.
            self._stopped = True
            processes = list(self._running.values())
        _signal_groups(processes, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        try:
            while _signal_groups(processes, 0) and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            _signal_groups(processes, signal.SIGKILL)


def _signal_groups(processes: "list[subprocess.Popen[bytes]]", number: int) -> int:
    """Send a signal, or 0 for none, to groups of processes; how many of them exist."""
    existing = 0
    for process in processes:
        with contextlib.suppress(OSError):
            # A group has the id of its first process, see `start_new_session`.
            os.killpg(process.pid, number)
            existing += 1
    return existing
