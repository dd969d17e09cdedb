#!/usr/bin/env bash
# Mockingjay on LibriSpeech, as in the paper: LARGE, train-clean-360.
#     LIBRISPEECH=/path/to/LibriSpeech ./run.sh --ngpu 1
#     ./run.sh --train_config conf/train_base.yaml
#     ./run.sh --train_config conf/train_small.yaml --local_data_opts "--train_subsets test-other"
set -euo pipefail

exec ./ssl.sh \
    --train_config conf/train_large.yaml \
    "$@"
