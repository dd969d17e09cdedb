#!/usr/bin/env bash
# Multi-task ASR on digit strings of real speech, with the speakers' accent as second task.
#     ./run.sh                       all stages, under an hour on two cores
#     ./run.sh --stage 9 --attack_config conf/attack_snr.yaml     budgets that bind
#     ./run.sh --stage 9 --attack_config conf/attack_500.yaml     500 small steps
#     ./run.sh --stage 9 --ngpu 1 --attack_config conf/attack_snr_2000.yaml    2000 in balls that bind
set -euo pipefail

exec ./mtl_asr.sh \
    --fs 8000 \
    --token_type word \
    --pretrain_args "--max_epoch 20 --optim_conf lr=2.0e-3 --scheduler_conf warmup_steps=500" \
    --sweep conf/sweep.yaml \
    --num_attack_utts 100 \
    --target_set conf/targets.txt \
    "$@"
