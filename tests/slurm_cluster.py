"""A Slurm cluster of this one machine."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("jobs") / "slurm_cluster.sh"
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue")


@contextlib.contextmanager
def running_cluster(folder, nodes=1, max_array_size=1001):
    """Start Slurm in `folder`, with SLURM_CONF and PATH set; stop it in the end."""
    # Its daemons are in places that are on the PATH of root only.
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if os.geteuid() or any(shutil.which(name, path=path) is None for name in PROGRAMS):
        pytest.skip("needs root and: apt-get install slurmctld slurmd slurm-client munge")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        command = [SCRIPT, "start", folder, str(nodes), str(max_array_size)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        patch.setenv("SLURM_CONF", done.stdout.strip())
        try:
            yield
        finally:
            subprocess.run([SCRIPT, "stop", folder], check=True)


def running_tasks():
    """Array tasks that run now, as `<job>_<number>`."""
    command = ["squeue", "--noheader", "--array", "--states=RUNNING", "--format=%F_%K"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def signal_program(task, name, number):
    """Send a signal to the processes of a task that have `name` in their command.

    SIGKILL is what a machine without memory does: Slurm does not call the task cancelled.

    Returns:
        whether there were any.
    """
    job, index = task.split("_")
    mark = {f"SLURM_ARRAY_JOB_ID={job}", f"SLURM_ARRAY_TASK_ID={index}"}
    found = False
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = set((folder / "environ").read_bytes().decode(errors="replace").split("\0"))
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if mark <= variables and any(name in word for word in command[:4]):
                os.kill(int(folder.name), number)
                found = True
    return found
