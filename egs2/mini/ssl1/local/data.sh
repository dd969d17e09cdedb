#!/usr/bin/env bash
# Data preparation: data/train, data/dev and data/test from the archive of mini/mtl_asr1.
set -euo pipefail

# shellcheck source=/dev/null
. ./path.sh

python3 ../mtl_asr1/local/prepare.py --archive ../mtl_asr1/downloads.tar.gz
for set in train dev test; do
    utils/validate_data_dir.sh --no-feats "data/${set}"
done
