#!/usr/bin/env bash
# Attack on a recognizer that is trained already: numbered stages from the corpus to the report.
set -euo pipefail

fs=16000                 # sample rate in Hz of what the model hears
model=                   # its directory, an archive of espnet2.bin.pack, or whisper:FILE of OpenAI
num_attack_utts=30       # utterances that are attacked; 0 for all

exec ./attack.sh \
    --fs "${fs}" \
    --model "${model}" \
    --num_attack_utts "${num_attack_utts}" \
    "$@"
