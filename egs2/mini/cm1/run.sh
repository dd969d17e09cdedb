#!/usr/bin/env bash
# Countermeasures, attacks and defences on synthetic speech that comes with the repository.
#     ./run.sh                          all stages
#     ./run.sh --stage 8                attack again and report
set -euo pipefail

exec ./cm.sh \
    --fs 8000 \
    "$@"
