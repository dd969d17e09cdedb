#!/usr/bin/env bash
# Data preparation: half of the speech of mini/mtl_asr1 as bona fide, half through vocoders, in
# the layout of ASVspoof 2019, and data/train, data/dev and data/eval from its protocols.
set -euo pipefail

# shellcheck source=/dev/null
. ./path.sh

if [ ! -f data/local/LA/.done ]; then
    python3 "${MAIN_ROOT}/egs2/mini/mtl_asr1/local/prepare.py" \
    --archive "${MAIN_ROOT}/egs2/mini/mtl_asr1/downloads.tar.gz" \
        --data data/local/speech
    python3 local/make_spoofs.py --speech data/local/speech --output data/local/LA
    touch data/local/LA/.done
fi
python3 "${MAIN_ROOT}/egs2/asvspoof2019/cm1/local/prepare.py" data/local/LA
for set in train dev eval; do
    utils/validate_data_dir.sh --no-feats --no-text "data/${set}"
done
