import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from espnet_ext.bin import run_jobs as command
from espnet_ext.errors import InputError
from espnet_ext.jobs.array import parse_arguments
from espnet_ext.jobs.local import run_jobs, visible_gpus

RUN = [sys.executable, "-m", "espnet_ext.bin.run_jobs"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> dict[int, int]:
    return run_jobs(parse_arguments(arguments))


def main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        command.main(list(arguments))
    return ended.value.code


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gpu_machine(monkeypatch, count: int) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    script = Path("bin/nvidia-smi")
    script.parent.mkdir()
    lines = "".join(f"GPU {i}: NVIDIA (UUID: GPU-{i})\\n  MIG 1g Device 0\\n" for i in range(count))
    script.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}/bin:{os.environ['PATH']}")


def test_the_log_has_command_output_and_accounting():
    assert run("logs/new/x.log", "echo", "out", ";", "echo", "err", ">&2") == {1: 0}
    lines = Path("logs/new/x.log").read_text().splitlines()
    assert lines[0] == "# echo out ; echo err >&2"
    assert lines[1].startswith("# Started at ")
    assert lines[3:5] == ["out", "err"]
    assert lines[5] == "# Accounting: time=0 threads=1"
    assert lines[6].startswith("# Ended (code 0) at ")


def test_every_job_runs_though_one_fails(capsys):
    assert main("JOB=1:3", "x.JOB.log", "echo", "I am JOB", ";", "exit", "$((JOB%2))") == 1
    assert "I am 3" in Path("x.3.log").read_text()
    error = capsys.readouterr().err
    assert "run.pl: 2 / 3 failed, log is in x.*.log" in error
    assert "end of x.1.log (code 1)" in error


def test_a_failure_shows_the_end_of_its_own_log(capsys):
    assert main("x.log", "seq", "1", "50;", "exit", "137") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "run.pl: job failed, log is in x.log"
    assert "(code 137, killed, most often for lack of memory)" in lines[1]
    assert lines[2:] == [f"  {i}" for i in range(31, 51)]


def test_success_is_silent(capsys):
    assert main("--mem", "4G", "x.log", "true") == 0
    assert capsys.readouterr() == ("", "")


def test_jobs_run_side_by_side_up_to_the_limit():
    wait = "for i in $(seq 500); do test -e s.1 -a -e s.2 && break; sleep 0.02; done"
    body = f"touch s.JOB; {wait}; sleep 0.1; ls s.* | wc -l"
    run("--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", *body.split())
    started = [int(Path(f"x.{n}.log").read_text().splitlines()[3]) for n in (1, 2)]
    assert min(started) == 2


def test_each_job_has_its_own_gpus(monkeypatch):
    gpu_machine(monkeypatch, 4)
    body = ["echo", "$CUDA_VISIBLE_DEVICES;", "sleep", "0.1"]

    def devices(*options: str) -> list[str]:
        run(*options, "JOB=1:4", "x.JOB.log", *body)
        return sorted(Path(f"x.{n}.log").read_text().splitlines()[3] for n in range(1, 5))

    assert devices("--gpu", "1") == ["0", "1", "2", "3"]
    assert set(devices("--gpu", "2")) == {"0,1", "2,3"}
    assert set(devices("--gpu", "1", "--max-jobs-run", "2")) == {"0", "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert devices("--gpu", "1") == ["5"] * 4


@pytest.mark.parametrize(
    ("variable", "found"), [(None, ["0", "1"]), ("5,7", ["5", "7"]), ("", []), ("-1", [])]
)
def test_the_visible_gpus(monkeypatch, variable, found):
    """A GPU in partitions is one; the environment may hide all."""
    gpu_machine(monkeypatch, 2)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == found


def test_without_a_gpu_there_is_a_warning(monkeypatch, capsys):
    gpu_machine(monkeypatch, 0)
    assert run("--gpu", "1", "x.log", "true") == {1: 0}
    assert "--gpu 1, but 0 found" in capsys.readouterr().err


def test_only_failed_jobs_run_again():
    run("JOB=1:3", "x.JOB.log", "test", "JOB", "!=", "2")
    assert run("--pick", "failed", "JOB=1:3", "x.JOB.log", "echo", "again") == {1: 0, 2: 0, 3: 0}
    assert ["again" in Path(f"x.{n}.log").read_text() for n in (1, 2, 3)] == [False, True, False]


def test_progress_is_told(capsys, monkeypatch):
    line = "2026-11-27 02:41:02,796 (runner:174) INFO: transcribed 3 of 9 utterances"
    command = ["echo", line, ";", "sleep", "1.2"]
    run("--progress-seconds", "1", "x.log", *command)
    shown = "0 of 1 jobs finished, 1 running, about 1 minute left\n{0}:   job 1: transcribed 3 of 9"
    assert capsys.readouterr().err == f"run.pl: {shown.format('run.pl')} utterances\n"
    monkeypatch.setenv("RECIPE_STAGE", "stage 7")
    run("--progress-seconds", "1", "x.log", *command)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("stage 7: an earlier run finished 1 of 1 jobs")
    assert "\n".join(rest) == f"stage 7: {shown.format('stage 7')} utterances"


def test_a_very_long_command_runs():
    assert run("x.log", "echo", "x" * 200_000, "|", "wc", "-c") == {1: 0}
    assert "200001" in Path("x.log").read_text()


@pytest.mark.parametrize(
    "options", [["--max-jobs-run", "0"], ["--gpu", "two"], ["--progress-seconds", "-1"]]
)
def test_bad_options(options):
    with pytest.raises(InputError, match=options[0]):
        run(*options, "x.log", "true")


def test_a_log_that_cannot_be_written():
    Path("file").write_text("")
    for log in ("file/x.log", "."):
        with pytest.raises(InputError, match="log"):
            run(log, "true")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_all_that_was_started(number, code):
    job = ["sleep", "60", "&", "echo", "$!", ">", "pid.JOB;", "wait"]
    Path("x.3.log").write_text("old log")
    process = subprocess.Popen(
        [*RUN, "--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", *job],
        # The tests themselves may run under nohup, where SIGINT is ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    pids = [Path("pid.1"), Path("pid.2")]
    wait_for(lambda: all(p.is_file() and p.read_text().strip() for p in pids))
    process.send_signal(number)
    assert process.wait(10) == code
    for path in pids:
        wait_for(lambda path=path: not is_running(int(path.read_text())))
    assert "# Ended (code 143)" in Path("x.1.log").read_text()
    assert Path("x.3.log").read_text() == "old log"


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_help_starts_without_heavy_modules():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *RUN[1:], "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "--max-jobs-run" in done.stdout
    assert " numpy\n" not in done.stderr
