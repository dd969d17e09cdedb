#!/usr/bin/env bash
# [options] [JOB=1:N] <log> <command...>: run jobs on Slurm; --help tells more.
exec python3 -m espnet_ext.bin.slurm_jobs "$@"
