"""How stages submit jobs and trainings: the words that the runners and ESPnet's launch get."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "egs2/TEMPLATE/common/utils"
TRAINING = "echo train --name 'a  b' --ngpu {ngpu}"
RECORD = '#!/bin/sh\nfor word; do echo "$word"; done > "$(mktemp words.XXXXXX)"\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with the utils of a recipe, and runners that only keep their arguments."""
    monkeypatch.chdir(tmp_path)
    python = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{UTILS}:{python}:{os.environ['PATH']}")
    (tmp_path / "utils").symlink_to(UTILS)
    (tmp_path / "bin").mkdir()
    for name in ("queue.pl", "slurm.pl"):
        (tmp_path / "bin" / name).write_text(RECORD)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def submit(function, runner, ngpu=0, num_nodes=1, trainings=2):
    """Call `run_list` or `train_list` on some trainings."""
    lines = f"{TRAINING.format(ngpu=ngpu)}\n" * trainings
    Path("jobs.sh").write_text(lines)
    command = f"run_list '{runner}' {ngpu}" if function == "run_list" else "train_list"
    script = (
        f"set -euo pipefail; . utils/stages.sh; cuda_cmd='{runner}'; "
        f"nj=3 ngpu={ngpu} num_nodes={num_nodes}; {command} jobs.sh log"
    )
    return subprocess.run(["bash", "-c", script, "run.sh"], capture_output=True, text=True)


def words(folder):
    """The arguments of each call of a fake runner."""
    return [path.read_text().splitlines() for path in folder.glob("words.*")]


@pytest.mark.parametrize("function", ["run_list", "train_list"])
def test_jobs_of_one_machine_are_an_array(here, function):
    done = submit(function, "queue.pl --mem 4G", ngpu=1)
    assert (done.returncode, done.stderr) == (0, "")
    array = "--mem 4G --gpu 1 --max-jobs-run 3 JOB=1:2 log/JOB.log utils/run_line.sh jobs.sh JOB"
    assert words(here) == [array.split()]


def test_several_gpus_of_this_machine(here):
    done = submit("train_list", "run.pl", ngpu=2)
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        log = (here / f"log/{number}.log").read_text()
        assert "train --name a  b --ngpu 2 --ngpu 2 --multiprocessing_distributed True\n" in log
        assert (here / f"log/launch/{number}.log").is_file()


@pytest.mark.parametrize(
    ("runner", "launcher", "name"),
    [("slurm.pl", "srun --export=ALL", "slurm"), ("queue.pl", "mpirun -np 2", "mpi")],
)
def test_several_machines_of_a_cluster(here, runner, launcher, name):
    done = submit("train_list", f"{runner} --mem 4G", ngpu=1, num_nodes=2, trainings=1)
    assert done.returncode == 0, done.stderr
    (given,) = words(here)
    options = f"--mem 4G --gpu 1 --num_threads 1 --num_nodes 2 log/1.log {launcher} echo train"
    appended = f"--ngpu 1 --ngpu 1 --multiprocessing_distributed true --dist_launcher {name}"
    expected = [*options.split(), "--name", "a  b", *appended.split(), "--dist_init_method"]
    assert given[:-1] == expected
    assert given[-1].startswith(f"file://{here}/log/init_1_")


def test_without_gpus_the_machines_talk_by_gloo(here):
    submit("train_list", "slurm.pl", num_nodes=2, trainings=1)
    assert words(here)[0][-2:] == ["--dist_backend", "gloo"]


def test_a_training_that_fails_ends_the_stage(here):
    (here / "bin/queue.pl").write_text("#!/bin/sh\nexit 1\n")
    done = submit("train_list", "queue.pl", num_nodes=2, trainings=1)
    assert done.returncode == 1 and "log is in log/launch/1.log" in done.stderr


MAIN = """
set -euo pipefail
. utils/stages.sh
stage=1 stop_stage=4
main() {
    if stage 2 "nothing"; then true; fi
    if stage 3 "sleep"; then
        run.pl --max-jobs-run 2 JOB=1:2 log/JOB.log bash job.sh JOB
    fi
    if stage 4 "not reached"; then true; fi
}
run_main; exit
"""


def start_main(job):
    Path("job.sh").write_text(job)
    return subprocess.Popen(
        ["bash", "-c", MAIN, "run.sh"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # The tests themselves may run under nohup, where signals are ignored.
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (1, 2, 15)],
    )


@pytest.mark.parametrize("send", [os.kill, os.killpg])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_and_says_how_to_go_on(here, number, send):
    process = start_main("echo $$ > pid.$1; sleep 60 & wait")
    deadline = time.monotonic() + 20
    while len([p for p in here.glob("pid.*") if p.read_text().strip()]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    send(process.pid, number)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 128 + number
    lines = output.splitlines()
    assert "Stage 3: sleep" in lines[1] and len(lines) == 3
    assert "Stopped in stage 3" in lines[2] and "./run.sh --stage 3 " in lines[2]
    for path in here.glob("pid.*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)


def test_a_failure_names_its_stage(here):
    process = start_main("exit 3")
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 1
    assert "Failed in stage 3" in output.splitlines()[-1] and "Stage 4" not in output


def test_success_says_no_more(here):
    process = start_main("true")
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 0 and len(output.splitlines()) == 3
