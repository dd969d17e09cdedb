#!/usr/bin/env bash
# Data preparation of the fsdd recipe: data/train, data/dev and data/test with strings of
# digits. The corpus is at FSDD (see db.sh); where that is empty it is fetched and checked.
# shellcheck disable=SC1091,SC2034
set -euo pipefail

sample_rate=8000     # in Hz, 8000 or 16000; the recordings have 8000
speakers=            # only these, e.g. george,theo; empty for all six
held_out=            # speakers of the test set, e.g. theo,yweweler; the others are not in it
train_utts=600       # utterances a speaker
dev_utts=25          # utterances a speaker
test_utts=40         # utterances a speaker

help_message=$(sed -n '/^sample_rate/,/^$/p' "${BASH_SOURCE[0]}")

. ./path.sh
. ./db.sh
. utils/parse_options.sh

if [ -z "${FSDD}" ]; then
    python3 local/fetch.py --corpus downloads/fsdd
    FSDD=downloads/fsdd
fi

# The names of speakers are words of their own.
# shellcheck disable=SC2086
python3 local/prepare.py "${FSDD}" --sample_rate "${sample_rate}" --speakers ${speakers//,/ } \
    --held_out ${held_out//,/ } \
    --train "${train_utts}" --dev "${dev_utts}" --test "${test_utts}"

for set in train dev test; do
    utils/validate_data_dir.sh --no-feats "data/${set}"
done
