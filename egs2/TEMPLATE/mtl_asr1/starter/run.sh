#!/usr/bin/env bash
# Multi-task ASR: numbered stages from the corpus to the robustness report; --help lists them.
set -euo pipefail

fs=16000                 # sample rate in Hz of what the models hear; conf/train.yaml has it too
token_type=char          # word, char or bpe: what the recognizer writes
heads=accent             # classification heads, e.g. "accent gender"; data/*/utt2<head> has labels

exec ./mtl_asr.sh \
    --fs "${fs}" \
    --token_type "${token_type}" \
    --heads "${heads}" \
    "$@"
