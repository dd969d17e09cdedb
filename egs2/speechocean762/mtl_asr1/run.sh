#!/usr/bin/env bash
# Multi-task ASR from Whisper's pretrained encoder, on read English sentences, with the speakers'
# gender and age group as further tasks.
#     export SPEECHOCEAN762=/path/to/speechocean762
#     ./run.sh --ngpu 1 --nj 6 --whisper_checkpoint /path/to/tiny.en.pt
#     ./run.sh --stage 9 --ngpu 1 --attack_config conf/attack_worst.yaml
set -euo pipefail

exec ./mtl_asr.sh \
    --token_type char \
    --heads "gender age_group" \
    --feats_normalize none \
    --pretrain_args "--frontend_conf frozen=true --max_epoch 40 --optim_conf lr=1.0e-3" \
    --num_attack_utts 40 \
    "$@"
