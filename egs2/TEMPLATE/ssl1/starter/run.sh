#!/usr/bin/env bash
# Mockingjay pretraining: numbered stages from the corpus to the reconstruction error.
set -euo pipefail

fs=16000                 # sample rate in Hz of what the model hears; conf/train.yaml has it too
test_sets=               # directories below data/ to measure on beside dev
seed=0                   # of initialisation, batches and masks

exec ./ssl.sh \
    --fs "${fs}" \
    --test_sets "${test_sets}" \
    --seed "${seed}" \
    "$@"
