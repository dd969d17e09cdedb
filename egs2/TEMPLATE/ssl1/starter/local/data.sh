#!/usr/bin/env bash
# Data preparation: makes data/{train,dev} with wav.scp utt2spk.
# egs2/own_corpus.md says what is in them and has examples.
# shellcheck disable=SC1091
set -euo pipefail

. ./path.sh
. ./db.sh

# From a table of the recordings with columns path and speaker. For a corpus
# without one, write here how data/{train,dev} are made;
# utils/validate_data_dir.sh --no-feats --no-text data/train says what is wrong with them.
if [ -z "${TABLE:-}" ]; then
    echo "$0: not written yet; set TABLE to a table of the recordings, or write this file," \
        "see egs2/own_corpus.md" >&2
    exit 1
fi
utils/data_from_table.sh "$@" "${TABLE}" data
