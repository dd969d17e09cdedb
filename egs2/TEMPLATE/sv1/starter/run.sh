#!/usr/bin/env bash
# Speaker verification under attack: numbered stages from the corpus to the report.
set -euo pipefail

fs=16000                 # sample rate in Hz of what the model hears
num_trials=200           # trials that are attacked; 0 for all

exec ./sv.sh \
    --fs "${fs}" \
    --num_trials "${num_trials}" \
    "$@"
