"""The Slurm back end: what it submits, and how it ends, on a cluster of this one machine."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import running_cluster

from espnet_ext.bin import slurm_jobs
from espnet_ext.errors import InputError
from espnet_ext.jobs import slurm
from espnet_ext.jobs.array import parse_arguments

pytestmark = pytest.mark.recipe


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.5)
    return tmp_path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("slurm"), max_array_size=5):
        yield


def run(*arguments):
    """Exit codes of the jobs of a command line."""
    return slurm.run_array(parse_arguments([*arguments]))


def ended(log):
    return [line for line in Path(log).read_text().splitlines() if line.startswith("# Ended")]


def test_options_become_those_of_sbatch(here):
    conf = slurm.read_conf()
    given = {"mem": "4G", "num-threads": "2", "gpu": "0", "pick": "failed", "max-jobs-run": "3"}
    assert conf.translate(given) == ["--mem-per-cpu=4G", "--cpus-per-task=2"]
    assert conf.translate({"mem": "0", "gpu": "2"}) == ["--gres=gpu:2"]
    assert conf.translate({"num-nodes": "2"}) == ["--nodes=2", "--ntasks-per-node=1"]
    with pytest.raises(InputError, match=r"--colour red: conf/slurm\.conf does not say"):
        conf.translate({"colour": "red"})


def test_a_configuration_as_kaldi_has_it(here):
    (here / "conf").mkdir()
    (here / "conf/slurm.conf").write_text(
        "# of our cluster\ncommand sbatch --export=PATH\noption gpu=0 -p cpu\n"
        "option\tgpu=* -p gpu --gres=gpu:$0  # any\n\ndefault gpu=0 \n"
    )
    conf = slurm.read_conf()
    assert conf.command == ["sbatch", "--export=PATH"]
    assert conf.translate({}) == ["-p", "cpu"]
    assert conf.translate({"gpu": "1"}) == ["-p", "gpu", "--gres=gpu:1"]
    (here / "conf/slurm.conf").write_text("command sbatch\noptions x\n")
    with pytest.raises(InputError, match=r"slurm\.conf:2: should be 'command"):
        slurm.read_conf()
    with pytest.raises(InputError, match="no such configuration"):
        slurm.read_conf("none.conf")


def test_dry_run_prints_and_submits_nothing(here, capsys):
    slurm_jobs_main = ["--dry-run", "true", "--mem", "1G", "-tc", "2", "JOB=1:3", "l/x.JOB.log"]
    with pytest.raises(SystemExit) as caught:
        slurm_jobs.main([*slurm_jobs_main, "echo", "it's JOB"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "sbatch" in out and "--array=1-3%2" in out and "--mem-per-cpu=1G" in out
    assert "--requeue" in out and "l/x.2.log" in out
    assert not list(here.iterdir())


def test_the_script_is_bash(here):
    array = parse_arguments(["JOB=1:2", "x.JOB.log", "echo", "it's JOB", ";", "echo", "$HOME"])
    (part,) = slurm.split(array, [2], 1001)
    script = slurm.batch_script(array, part)
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert done.returncode == 0 and not done.stderr
    assert "x.2.log" in script and "x.1.log" not in script


def test_a_job_of_several_nodes_is_not_begun_again_by_itself(here, monkeypatch):
    """The file by which its processes find each other serves one run."""
    runs = []
    monkeypatch.setattr(slurm, "run_once", lambda _, parts, __: runs.append(parts) or {1: 137})
    assert run("--num_nodes", "2", "x.log", "srun", "true") == {1: 137} and len(runs) == 1
    assert run("x.log", "true") == {1: 137} and len(runs) == 1 + 3
    for options, requeues in ((["--num_nodes", "2"], 0), (["--num_nodes", "1"], 20), ([], 20)):
        array = parse_arguments([*options, "x.log", "srun", "true"])
        (part,) = slurm.split(array, [1], 1001)
        assert f"\nrequeues={requeues}\n" in slurm.batch_script(array, part)


def test_an_array_is_divided_where_it_is_too_large(here):
    array = parse_arguments(["-tc", "2", "JOB=1:9", "l/x.JOB.log", "echo", "JOB"])
    parts = slurm.split(array, [1, 2, 5, 8, 9], 5)
    assert [(part.numbers, part.offset) for part in parts] == [([1, 2], 0), ([5, 8], 4), ([9], 8)]
    assert len({part.script for part in parts}) == 3
    words = [slurm.sbatch_command(array, part, slurm.read_conf(), "7") for part in parts]
    assert [next(w for w in ws if w.startswith("--array")) for ws in words] == [
        "--array=1-2%2",
        "--array=1,4%2",
        "--array=1%2",
    ]
    # Together no more at a time than asked for.
    assert all("--dependency=afterany:7" in ws for ws in words)


def test_progress_is_told(here, monkeypatch, capsys):
    """By the states of the controller and by what the logs say."""
    states = [{1: "RUNNING", 2: "PENDING"}] * 2 + [{2: "RUNNING"}] * 2 + [{}]
    log = "2026-11-27 02:41:02,796 (runner:174) INFO: transcribed 3 of 9 utterances\n"

    def next_states(_):
        Path("x.1.log").write_text(log if len(states) > 3 else "# Ended (code 0) at\n")
        Path("x.2.log").write_text(log if len(states) > 1 else "# Ended (code 0) at\n")
        return states.pop(0)

    monkeypatch.setattr(slurm, "task_states", next_states)
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.6)
    array = parse_arguments(["--progress-seconds", "1", "JOB=1:2", "x.JOB.log", "true"])
    assert slurm.wait_for(array, {"7": slurm.split(array, [1, 2], 1001)[0]}) == {1: 0, 2: 0}
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("slurm.pl: 1 of 2 jobs finished, 1 running") for line in lines)
    assert "slurm.pl:   job 2: transcribed 3 of 9 utterances" in lines


def test_without_slurm(here, monkeypatch):
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(InputError, match=r"sbatch: cannot be run .* cmd_backend=local"):
        run("x.log", "true")


def test_codes_are_those_of_the_tasks(cluster, here):
    codes = run("JOB=1:3", "x.JOB.log", "echo", "hello JOB", ";", "exit", "$((JOB-1))")
    assert codes == {1: 0, 2: 1, 3: 2}
    assert "hello 2" in (here / "x.2.log").read_text()
    assert ended("x.3.log")[0].startswith("# Ended (code 2)")
    # Only those that failed run again; an error is not tried twice by itself.
    (here / "mended").touch()
    command = ["test", "-f", "mended", "&&", "echo", "again"]
    assert run("--pick", "failed", "JOB=1:3", "x.JOB.log", *command) == {1: 0, 2: 0, 3: 0}
    assert "again" not in (here / "x.1.log").read_text()
    assert "again" in (here / "x.2.log").read_text()


def test_the_environment_is_that_of_path_sh(cluster, here):
    (here / "path.sh").write_text("export GREETING=bonjour\n")
    assert run("x.log", "echo", "$GREETING") == {1: 0}
    assert "bonjour" in (here / "x.log").read_text()


def test_a_killed_task_is_submitted_again_alone(cluster, here, capsys):
    (here / "job.sh").write_text(
        "echo run >> runs.$1\nif [ $1 = 2 ] && [ $(wc -l < runs.$1) = 1 ]; then kill -9 $$; fi\n"
    )
    assert run("JOB=1:3", "x.JOB.log", "bash", "job.sh", "JOB") == {1: 0, 2: 0, 3: 0}
    runs = [(here / f"runs.{n}").read_text().count("run") for n in (1, 2, 3)]
    assert runs == [1, 2, 1]
    assert "jobs 2 were killed or lost; submitted again" in capsys.readouterr().err


def test_a_task_that_is_always_killed_fails(cluster, here):
    (here / "job.sh").write_text("echo run >> runs\nkill -9 $$\n")
    assert run("--retries", "1", "x.log", "bash", "job.sh") == {1: 137}
    assert (here / "runs").read_text().count("run") == 2


def test_what_is_cancelled_by_hand_is_not_submitted_again(cluster, here, monkeypatch):
    monkeypatch.setattr(slurm, "LAG_SECONDS", 2.0)
    (here / "job.sh").write_text("scancel $SLURM_JOB_ID\nsleep 60\n")
    assert run("x.log", "bash", "job.sh") == {1: slurm.CANCELLED}
    assert "# Lost: Slurm says CANCELLED" in (here / "x.log").read_text()


def test_a_task_cancelled_while_it_waits_is_not_submitted_again(cluster, here, monkeypatch, capsys):
    monkeypatch.setattr(slurm, "LAG_SECONDS", 2.0)
    (here / "job.sh").write_text(
        "echo run >> runs.$1\n[ $1 != 1 ] || scancel ${SLURM_ARRAY_JOB_ID}_4\n"
    )
    codes = run("--max-jobs-run", "1", "JOB=1:4", "x.JOB.log", "bash", "job.sh", "JOB")
    assert codes == {1: 0, 2: 0, 3: 0, 4: slurm.CANCELLED}
    assert sorted(path.name for path in here.glob("runs.*")) == ["runs.1", "runs.2", "runs.3"]
    assert "jobs 4 were cancelled (scancel)" in capsys.readouterr().err


def test_more_tasks_than_the_cluster_takes(cluster, here, capsys):
    assert slurm.max_array_size() == 5
    command = ["echo", "I", "am", "JOB;", "test", "JOB", "!=", "6"]
    assert run("JOB=1:6", "x.JOB.log", *command) == {**dict.fromkeys(range(1, 6), 0), 6: 1}
    assert all(f"\nI am {n}\n" in (here / f"x.{n}.log").read_text() for n in range(1, 7))
    assert capsys.readouterr().err.count("tasks; log is in") == 2


def test_jobs_of_a_killed_run_are_not_submitted_beside_it(cluster, here):
    command = [sys.executable, "-m", "espnet_ext.bin.slurm_jobs", "x.log", "sleep", "100"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _until(lambda: (here / "x.log").exists())
    process.kill()
    process.wait()
    with pytest.raises(InputError, match=r"job (\d+) of an earlier run.*scancel \1") as caught:
        run("x.log", "true")
    subprocess.run(["scancel", str(caught.value).split()[1]], check=True)
    _until(lambda: not _queue())
    assert run("x.log", "true") == {1: 0}


def test_a_signal_cancels_the_job(cluster, here):
    command = [sys.executable, "-m", "espnet_ext.bin.slurm_jobs", "x.log", "sleep", "100"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _until(lambda: (here / "x.log").exists())
    process.terminate()
    assert process.wait(30) == 143
    _until(lambda: not _queue())


@pytest.mark.recipe
def test_a_task_at_its_time_limit_goes_on_where_it_was(cluster, here):
    """Slurm may give its notice a minute early: of two minutes, there is one at least."""
    (here / "work.sh").write_text(
        "test -e steps && exec cp steps earlier\nwhile true; do echo >> steps; sleep 1; done\n"
    )
    options = ["--time", "2", "--notice-seconds", "5"]
    assert run(*options, "x.log", "bash", "work.sh") == {1: 0}
    log = (here / "x.log").read_text()
    assert (here / "earlier").read_text().count("\n") > 30
    assert "# Near the time limit" in log and "# Started again" in log and len(ended("x.log")) == 1


def test_a_task_that_saves_nothing_does_not_run_for_ever(cluster, here):
    (here / "work.sh").write_text("scancel --batch --signal=USR1 $SLURM_JOB_ID\nsleep 100\n")
    options = ["--requeues", "1", "--retries", "0"]
    assert run(*options, "x.log", "bash", "work.sh")[1] >= 128
    assert (here / "x.log").read_text().count("# Near the time limit") == 1


def _queue():
    return subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout


def _until(condition, seconds=40):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
