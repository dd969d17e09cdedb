#!/usr/bin/env bash
# Attack on a recognizer of mini/mtl_asr1 as on one that somebody else has trained.
#     ../mtl_asr1/run.sh has to be run before, or give --model
set -euo pipefail

exec ./attack.sh \
    --fs 8000 \
    --model ../mtl_asr1/exp/la0.7_lc0.5_seed0 \
    --num_attack_utts 36 \
    --target_set ../mtl_asr1/conf/targets.txt \
    "$@"
