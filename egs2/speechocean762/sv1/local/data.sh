#!/usr/bin/env bash
# data/test from speechocean762 at SPEECHOCEAN762 (see db.sh); its tables have tabs.
# shellcheck disable=SC1091
set -euo pipefail

. ./path.sh
. ./db.sh

if [ -z "${SPEECHOCEAN762}" ]; then
    echo "$0: set SPEECHOCEAN762 in db.sh to the folder with test/ and WAVE/" >&2
    exit 1
fi
from=${SPEECHOCEAN762}/test to=data/test
mkdir -p "${to}"
awk -v corpus="${SPEECHOCEAN762}" '{ print $1, corpus "/" $2 }' "${from}/wav.scp" > "${to}/wav.scp"
tr '\t' ' ' < "${from}/utt2spk" > "${to}/utt2spk"
utils/fix_data_dir.sh "${to}"
utils/validate_data_dir.sh --no-feats --no-text "${to}"
