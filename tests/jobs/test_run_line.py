"""The script that makes an array of unlike jobs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "egs2" / "TEMPLATE" / "common" / "utils" / "run_line.sh"


def run(*arguments: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [SCRIPT, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def jobs(tmp_path) -> Path:
    path = tmp_path / "jobs.sh"
    path.write_text(
        "echo first\n"
        "printf '%s|' 'a  b' \"$((1 + 1))\" c\\ d '*'\n"
        "\n"
        "exit 3\n"
        "false | true\n"
        "echo ${unset_for_sure}\n"
        "echo out; echo err >&2; touch made\n"
    )
    return path


def test_one_line_is_shown_and_run(jobs):
    done = run(jobs, 1)
    assert (done.stdout, done.stderr, done.returncode) == ("echo first\nfirst\n", "", 0)


def test_quotes_and_expansions_are_those_of_the_shell(jobs):
    assert run(jobs, 2).stdout.splitlines()[1] == "a  b|2|c d|*|"


@pytest.mark.parametrize("number", [3, 8, 100])
def test_a_line_that_is_not_there_is_named(jobs, number):
    done = run(jobs, number)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{SCRIPT}: {jobs} has no line {number}\n"


@pytest.mark.parametrize(("number", "code"), [(4, 3), (5, 1), (6, 1)])
def test_a_job_that_fails_gives_its_status_on(jobs, number, code):
    assert run(jobs, number).returncode == code


def test_a_job_runs_where_it_is_called_with_both_outputs(jobs, tmp_path):
    done = run(jobs, 7, cwd=tmp_path)
    assert done.stdout.endswith("\nout\n") and done.stderr == "err\n"
    assert (tmp_path / "made").exists()


def test_a_missing_file_fails(tmp_path):
    done = run(tmp_path / "none", 1)
    assert done.returncode != 0 and "none" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["jobs.sh"], ["jobs.sh", 1, 2]])
def test_other_arguments_are_refused(arguments):
    done = run(*arguments)
    assert done.returncode == 1 and done.stderr.startswith("Usage: ")


def test_unlike_jobs_become_an_array(jobs, tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [SCRIPT.parent / "run.pl", "JOB=1:2", tmp_path / "JOB.log", SCRIPT, jobs, "JOB"]
    subprocess.run(command, check=True, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)})
    assert "\nfirst\n" in (tmp_path / "1.log").read_text()
    assert "\na  b|2|" in (tmp_path / "2.log").read_text()
