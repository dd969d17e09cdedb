"""How stages submit jobs and trainings: the words that the runners and ESPnet's launch get."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

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


def job_pids(here):
    """The processes of the two jobs of `start_main`, once both are there."""
    deadline = time.monotonic() + 20
    while len([p for p in here.glob("pid.*") if p.read_text().strip()]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(path.read_text()) for path in here.glob("pid.*")]


def wait_until_gone(pids):
    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("send", [os.kill, os.killpg])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_and_says_how_to_go_on(here, number, send):
    process = start_main("echo $$ > pid.$1; sleep 60 & wait")
    pids = job_pids(here)
    send(process.pid, number)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 128 + number
    lines = output.splitlines()
    assert "Stage 3: sleep" in lines[1] and len(lines) == 3
    assert "Stopped in stage 3" in lines[2] and "./run.sh --stage 3 " in lines[2]
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_all_ends_when_the_script_is_killed_without_a_chance(here):
    process = start_main("echo $$ > pid.$1; sleep 60 & wait")
    pids = job_pids(here)
    process.kill()
    wait_until_gone(pids)
    assert "Stopped in stage 3" in process.communicate(timeout=20)[0]


def test_jobs_end_when_their_runner_is_killed_without_a_chance(here):
    process = start_main("echo $$ > pid.$1; sleep 60 & wait")
    pids = job_pids(here)
    (runner,) = (p for p in descendants(process.pid) if b"run_jobs" in command_of(p))
    os.kill(runner, signal.SIGKILL)
    wait_until_gone(pids)
    assert process.wait(20) != 0


def descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [p for child in map(int, children) for p in [child, *descendants(child)]]


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


CLAIMS = """
set -euo pipefail
. utils/stages.sh
. utils/checks.sh
stage=$1 stop_stage=$2 expdir=$3 dumpdir=$4 name=$5
main() {
    for number in 1 2 3 4; do
        if stage "${number}" "works"; then while [ -f "${hold:-}" ]; do sleep 0.05; done; fi
    done
}
claim 1 2 dumpdir
claim 3 3 expdir "${name}"
claim 4 4 expdir "other_${name}"
run_main; exit
"""


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        # stages, expdir, dumpdir, name
        ("1 4 exp dump x", "1 4 exp dump x", "dump: .* uses there .* stages 1-2.*--stage 3, or"),
        (
            "1 2 exp dump x",
            "3 4 exp dump x",
            "dump: .* writes there, in its stages 1-2.*it: another --dumpdir",
        ),
        ("3 4 exp dump x", "1 2 exp dump x", "dump: .* uses there .* stages 1-2"),
        ("3 4 exp dump x", "4 4 exp dump x", "exp: .* writes there, in its stages 3-3"),
        ("4 4 exp dump x", "3 3 exp dump x", "exp: .* uses there .* stages 3-3"),
        ("4 4 exp dump x", "4 4 exp dump x", "exp: .*another --expdir"),
        ("3 4 exp dump x", "3 4 exp dump y", None),
        ("3 4 exp dump x", "3 4 new dump x", None),
        ("1 4 exp dump x", "1 4 new new x", None),
        ("1 2 exp dump x", "1 2 exp new x", None),
    ],
)
def test_two_runs_at_once(here, first, second, reason):
    (here / "hold").touch()
    command = ["bash", "-c", CLAIMS, "run.sh"]
    held = {**os.environ, "hold": "hold"}
    started = subprocess.Popen(
        [*command, *first.split()], stdout=subprocess.PIPE, text=True, env=held
    )
    try:
        assert "Stage " in started.stdout.readline()
        done = subprocess.run([*command, *second.split()], capture_output=True, text=True)
        assert done.returncode == (1 if reason else 0), done.stderr
        assert re.search(reason or "", done.stderr), done.stderr
        assert reason is None or f"process {started.pid} on host" in done.stderr
        assert reason is None or "Stage" not in done.stdout
    finally:
        (here / "hold").unlink(missing_ok=True)
        assert started.wait(20) == 0
    again = subprocess.run([*command, *first.split()], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


def test_a_command_may_lock_the_directory_that_the_run_is_named_after(here):
    lock = "from espnet_ext.data.locks import locked\nwith locked('exp/x'): print('has it')"
    script = CLAIMS.replace('"works"; then', f'"works"; then python3 -c "{lock}";')
    command = ["bash", "-c", script, "run.sh", *["3", "3", "exp", "dump", "x"]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "has it" in done.stdout and done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a directory without new files")
def test_what_is_only_read_need_not_be_writable(here):
    command = ["bash", "-c", CLAIMS, "run.sh"]
    read = [*command, *["3", "4", "exp", "/proc", "x"]]
    done = subprocess.run(read, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = [*command, *["1", "4", "exp", "/proc", "x"]]
    done = subprocess.run(written, capture_output=True, text=True)
    assert done.returncode == 2 and "cannot write /proc/.run.lock" in done.stderr + done.stdout


def test_others_may_read_what_a_run_has_written(here):
    (here / "hold").touch()
    in_stage_3 = CLAIMS.replace("[ -f", '[ "${number}" = 3 ] && [ -f')
    command = ["bash", "-c", in_stage_3, "run.sh", *["1", "4", "exp", "dump", "x"]]
    held = {**os.environ, "hold": "hold"}
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=held)
    try:
        assert any("Stage 3" in line for line in started.stdout)
        command = ["bash", "-c", CLAIMS, "run.sh", *["3", "4", "exp", "dump", "y"]]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        (here / "hold").unlink()
        assert started.wait(20) == 0


@pytest.mark.parametrize("options", ["--tag $NOT_SET", "--tag a;b", "--tag a >b"])
def test_options_that_the_shell_cannot_read_are_named(here, options):
    script = (
        '. utils/stages.sh; . utils/checks.sh; set -u; check_command_options --x asr_train "$1"'
    )
    command = ["bash", "-c", script, "run.sh", options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and options in done.stderr, done.stderr


def test_a_failure_names_its_stage(here):
    process = start_main("exit 3")
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 1
    assert "Failed in stage 3" in output.splitlines()[-1] and "Stage 4" not in output


def test_success_says_no_more(here):
    process = start_main("true")
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 0 and len(output.splitlines()) == 3
