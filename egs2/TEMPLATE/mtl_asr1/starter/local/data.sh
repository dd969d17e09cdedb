#!/usr/bin/env bash
# Data preparation: makes data/{train,dev,test} with wav.scp text utt2spk utt2<head>.
# egs2/README.md says what is in them and has an example.
# shellcheck disable=SC1091
set -euo pipefail

. ./path.sh
. ./db.sh

# utils/validate_data_dir.sh --no-feats data/train says what is wrong with what you made.
echo "$0: not written yet; write here how data/{train,dev,test} are made, see egs2/README.md" >&2
exit 1
