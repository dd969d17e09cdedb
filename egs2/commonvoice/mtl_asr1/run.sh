#!/usr/bin/env bash
# Multi-task ASR on Common Voice, US and Indian accents, as in the paper.
#     COMMONVOICE=/path/to/cv-corpus-7.0-2021-07-21 ./run.sh --ngpu 1 --pretrained model.zip
#     ./run.sh --heads "accent gender" --local_data_opts "--heads accent,gender"
set -euo pipefail

exec ./mtl_asr.sh \
    --token_type bpe \
    --nbpe 5000 \
    --max_seconds 20 \
    --num_attack_utts 1000 \
    --interval_unit speaker \
    "$@"
