"""Run a command, once or once for each number of a range, with a log for each.

The command line is that of Kaldi's run.pl:

    run.pl [options] [JOB=1:N] <log> <command...>

JOB is replaced by 1 ... N in log and command. Options, each with a value:

    --max-jobs-run N       jobs at a time (-tc N); default: as many as CPUs, or GPUs
    --gpu N                GPUs for each job, which gets its own CUDA_VISIBLE_DEVICES
    --pick MODE            with logs of an earlier run, run all (default), failed,
                           incomplete or none
    --progress-seconds N   say every N seconds how far the jobs are; default 60, 0 never

Where there are more jobs than run at a time, and they are lines of a file (utils/run_line.sh),
commands of this project are forks of one process that imports PyTorch and ESPnet once. Logs, exit
codes and signals are as ever.

Other options (--mem 4G, --num-threads 2, ...) are for clusters and ignored here.
"""

import sys

from espnet_ext.bin import cli
from espnet_ext.jobs.local import run_jobs
from espnet_ext.jobs.program import run_program


def main(cmd: list[str] | None = None) -> None:
    """Run the command; exit with 1 if a job failed."""
    run_program(sys.argv[1:] if cmd is None else cmd, __doc__ or "", run_jobs, "run.pl")


if __name__ == "__main__":
    cli.run(main)
