"""Run a command on Slurm, once or once for each number of a range, with a log for each.

The command line is that of Kaldi's slurm.pl:

    slurm.pl [options] [JOB=1:N] <log> <command...>

JOB is replaced by 1 ... N in log and command; the tasks are one job array, or several where the
cluster does not take so many (MaxArraySize). Options, each with a value:

    --max-jobs-run N       tasks at a time (-tc N); default: as many as Slurm lets
    --pick MODE            with logs of an earlier run, run all (default), failed,
                           incomplete or none
    --retries N            submit tasks that were killed, lost, preempted or timed out again, up
                           to N times; default 2. One that ends with an error is not tried again,
                           and none is after somebody has cancelled one (scancel)
    --requeues N           let a task near its time limit be queued again N times; default 20
    --notice-seconds N     before that limit to stop it; default 120, of which Slurm may take 60
    --progress-seconds N   say every N seconds how far the tasks are; default 60, 0 never
    --config FILE          instead of conf/slurm.conf, which says what other options (--mem 4G,
                           --num-threads 2, --time 4:00:00, --gpu 1) mean to sbatch
    --dry-run true         print the command and the script, submit nothing

The environment in a task is that of path.sh. Near its time limit a task stops and is queued again.
"""

import sys

from espnet_ext.bin import cli
from espnet_ext.jobs.program import run_program
from espnet_ext.jobs.slurm import PROGRAM, run_array


def main(cmd: list[str] | None = None) -> None:
    """Run the command; exit with 1 if a job failed."""
    run_program(sys.argv[1:] if cmd is None else cmd, __doc__ or "", run_array, PROGRAM)


if __name__ == "__main__":
    cli.run(main)
