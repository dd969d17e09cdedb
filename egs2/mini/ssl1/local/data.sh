#!/usr/bin/env bash
# Data preparation: data/train, data/dev and data/test from the archive of mini/mtl_asr1.
set -euo pipefail

# shellcheck source=/dev/null
. ./path.sh

python3 "${MAIN_ROOT}/egs2/mini/mtl_asr1/local/prepare.py" \
    --archive "${MAIN_ROOT}/egs2/mini/mtl_asr1/downloads.tar.gz"
for set in train dev test; do
    utils/validate_data_dir.sh --no-feats "data/${set}"
done
