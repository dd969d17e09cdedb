#!/usr/bin/env bash
# [options] [JOB=1:N] <log> <command...>: run jobs on this machine; --help tells more.
exec python3 -m espnet_ext.bin.run_jobs "$@"
