#!/usr/bin/env bash
# Countermeasures, attacks and defences: numbered stages from the corpus to the report.
set -euo pipefail

fs=16000                 # sample rate in Hz of what the models hear; conf/train_*.yaml have it too
test_set="eval"          # directory below data/ that is scored and attacked
seeds="0 1 2"            # training seeds; intervals over them need more than one

exec ./cm.sh \
    --fs "${fs}" \
    --test_set "${test_set}" \
    --seeds "${seeds}" \
    "$@"
