"""How stages submit jobs and trainings: the words that the runners and ESPnet's launch get."""

import os
import subprocess
import sys
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
