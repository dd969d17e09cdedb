#!/usr/bin/env bash
# Data preparation of the mini recipe: data/train, data/dev and data/test from the archive
# that comes with it. Nothing is downloaded; how the archive was made: local/make_corpus.py.
set -euo pipefail

log() {
    echo "$(date '+%Y-%m-%dT%H:%M:%S') (data.sh) $*"
}

if [ $# -ne 0 ]; then
    log "error: no arguments are expected, got: $*" >&2
    exit 2
fi

# shellcheck source=/dev/null
. ./path.sh

log "unpacking downloads.tar.gz and writing data/{train,dev,test}"
python3 local/prepare.py

for set in train dev test; do
    utils/validate_data_dir.sh --no-feats "data/${set}"
done
log "done"
