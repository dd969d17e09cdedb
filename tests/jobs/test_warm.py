"""A worker: commands of this project in forks of a process that has imported what they need."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet_ext.jobs.warm import worker_line

pytestmark = pytest.mark.one_python

UTILS = Path(__file__).resolve().parents[2] / "egs2/TEMPLATE/common/utils"
RUN = [sys.executable, "-m", "espnet_ext.bin.run_jobs"]
# A command of this project that runs any other and imports nothing heavy.
LINE = "python3 -m espnet_ext.bin.run_jobs inner.{0}.log bash job.sh {0}\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (tmp_path / "utils").symlink_to(UTILS)


def write(job, jobs=4, line=LINE):
    Path("job.sh").write_text(job)
    Path("jobs.sh").write_text("".join(line.format(n) for n in range(1, jobs + 1)))


def array(jobs=4, at_once=1):
    command = ["utils/run_line.sh", "jobs.sh", "JOB"]
    return [*RUN, "--max-jobs-run", str(at_once), f"JOB=1:{jobs}", "log/JOB.log", *command]


def run(jobs=4, at_once=1):
    return subprocess.run(array(jobs, at_once), capture_output=True, text=True)


def output(number):
    """What a job's log has between its first and its last lines."""
    return Path(f"log/{number}.log").read_text().split("#\n", 1)[1].split("# Accounting")[0]


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ancestors(pid, last=1):
    """The processes from which a process comes, below `last`."""
    found = []
    while (pid := int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])) > 1:
        if pid == last:
            break
        found.append(pid)
    return found


def written_pid(path):
    """The process that has written its id there."""
    wait_for(lambda: Path(path).is_file() and Path(path).read_text().strip())
    return int(Path(path).read_text())


def test_jobs_of_a_worker_have_logs_codes_and_processes_of_their_own():
    write("echo $PPID > parent.$1; echo out $1; echo err $1 >&2; exit $(($1 == 2))")
    done = run()
    assert done.returncode == 1 and done.stdout == ""
    assert "run.pl: 1 / 4 failed, log is in log/*.log" in done.stderr
    assert "end of log/2.log (code 1)" in done.stderr and "err 2" in done.stderr
    for number in (1, 3, 4):
        assert output(number) == LINE.format(number)
        assert f"out {number}\nerr {number}\n" in Path(f"inner.{number}.log").read_text()
    assert len({Path(f"parent.{n}").read_text() for n in range(1, 5)}) == 4


def test_one_worker_for_all_jobs():
    write("echo $$ > pid.$1; until [ -e go.$1 ]; do sleep 0.02; done", jobs=6)
    process = subprocess.Popen(array(jobs=6, at_once=2))
    workers = set()
    for number in range(1, 7):
        workers.add(job_and_worker(written_pid(f"pid.{number}"))[1])
        Path(f"go.{number}").touch()
    assert process.wait(30) == 0 and len(workers) == 1


def job_and_worker(pid):
    """The process that runs a line and the one that has forked it, from one that it has started."""
    programs = {p: Path(f"/proc/{p}/cmdline").read_text().split("\0")[0] for p in ancestors(pid)}
    return [p for p, program in programs.items() if Path(program).name.startswith("python")][:2]


def test_a_log_is_that_of_a_process_of_its_own():
    """But for date, seconds and what differs from run to run."""
    write("echo $1")
    assert run().returncode == 0
    warm = Path("log/3.log").read_text()
    Path("inner.3.log").unlink()
    assert subprocess.run([*array()[:-5], "JOB=3:3", *array()[-4:]]).returncode == 0

    def stable(text):
        return re.sub(r" at .*|time=\d+", "", text)

    assert stable(warm) == stable(Path("log/3.log").read_text())


def test_a_command_that_cannot_start_fails_alone():
    lines = LINE.format(1) + "python3 -m espnet_ext.bin.absent\n" + LINE.format(3)
    Path("job.sh").write_text("true")
    Path("jobs.sh").write_text(lines)
    done = run(jobs=3)
    assert done.returncode == 1 and "1 / 3 failed" in done.stderr
    assert "No module named espnet_ext.bin.absent" in done.stderr


@pytest.mark.parametrize("target", ["job", "worker"])
def test_what_is_killed_fails_and_the_others_go_on(target):
    """As for lack of memory."""
    write("if [ $1 = 2 ]; then echo $$ > inner.pid; sleep 60; fi")
    process = subprocess.Popen(array(), stderr=subprocess.PIPE, text=True)
    job, worker = job_and_worker(written_pid("inner.pid"))
    os.kill(job if target == "job" else worker, signal.SIGKILL)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "1 / 4 failed" in error
    assert "end of log/2.log (code 137, killed, most often for lack of memory)" in error
    assert [Path(f"inner.{n}.log").exists() for n in (3, 4)] == [True, True]
    wait_for(lambda: not is_running(job))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_runner_ends_workers_and_jobs(number):
    write("echo $$ > pid.$1; sleep 60")
    process = subprocess.Popen(
        array(at_once=2),
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (2, 15)],
    )
    inner = [written_pid("pid.1"), written_pid("pid.2")]
    family = {p for pid in inner for p in [pid, *ancestors(pid, process.pid)]}
    process.send_signal(number)
    assert process.wait(20) == (128 + number if number != signal.SIGKILL else -number)
    wait_for(lambda: not any(map(is_running, family)))
    assert not Path("log/3.log").exists()


@pytest.mark.parametrize(
    "line",
    [
        "echo hello",
        "python3 -m espnet2.bin.launch",
        "python3 -m",
        "X=1 python3 -m espnet_ext.bin.claim",
        "python3 -m espnet_ext.bin.claim; echo",
        "python3 -m espnet_ext.bin.claim $HOME",
        "python3 -m espnet_ext.bin.claim '",
    ],
)
def test_a_line_for_bash_is_left_to_it(line):
    Path("jobs.sh").write_text(f"{line}\n")
    assert worker_line("utils/run_line.sh jobs.sh 1") is None
    assert worker_line(line) is None


def test_words_of_a_line_are_those_of_bash():
    line = "python3 -m espnet_ext.bin.claim a\\ b \"it's\" '\"' '' x=[1,2] back\\\\slash a\\,b"
    Path("jobs.sh").write_text(f"{line}\n")
    assert worker_line("utils/run_line.sh jobs.sh 1") == line
    by_bash = subprocess.check_output(["bash", "-c", f"printf '%s\\n' {line}"], text=True)
    assert shlex.split(line) == by_bash.splitlines()
