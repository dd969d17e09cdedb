#!/usr/bin/env bash
# Mockingjay on synthetic speech that comes with the repository.
#     ./run.sh                          all stages, two minutes on two cores
#     ./run.sh --stage 4                pretrain and measure again
set -euo pipefail

exec ./ssl.sh \
    --fs 8000 \
    --test_sets test \
    "$@"
