#!/usr/bin/env bash
# Whisper on read speech of LibriSpeech: what it hears within 40 and 35 dB SNR.
#     LIBRISPEECH=/path/to/LibriSpeech ./run.sh --model whisper:/path/to/tiny.en.pt
#     ./run.sh --model whisper:tiny.en.pt --stage 5 --attack_config conf/attack_silence.yaml
#     ./run.sh --model /path/to/exp/asr    another recognizer
set -euo pipefail

# Whisper hears 30 s, and a few utterances of the corpus are longer.
exec ./attack.sh --format_args "--allow_loss true" "$@"
