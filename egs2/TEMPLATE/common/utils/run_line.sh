#!/usr/bin/env bash
# Run one line of a file of commands: how a list of unlike jobs becomes an array, as in
#     run.pl JOB=1:8 exp/log/train.JOB.log utils/run_line.sh exp/train_jobs.sh JOB
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "Usage: $0 <file> <line number>" >&2
    exit 1
fi
line=$(sed -n "$2p" "$1")
if [ -z "${line}" ]; then
    echo "$0: $1 has no line $2" >&2
    exit 1
fi
echo "${line}"
eval "${line}"
