#!/usr/bin/env bash
# Multi-task ASR on the mini corpus: synthetic speech that comes with the recipe, a few minutes.
set -euo pipefail

exec ./mtl_asr.sh \
    --fs 8000 \
    --token_type word \
    --pretrain_args "--max_epoch 40 --optim_conf lr=2.0e-3 --scheduler_conf warmup_steps=200" \
    --num_attack_utts 36 \
    --target_set conf/targets.txt \
    "$@"
