#!/usr/bin/env bash
# Data preparation of the librispeech recipe: data/train and data/dev from the subsets of the
# corpus at LIBRISPEECH (see db.sh), and from data directories of other corpora.
# shellcheck disable=SC1091,SC2034
set -euo pipefail

librispeech=                     # the corpus, in place of LIBRISPEECH in db.sh
train_subsets="train-clean-360"  # e.g. train-clean-100,train-clean-360,train-other-500
data_dirs=                       # Kaldi data directories of other corpora to join, also with commas
dev_subsets="dev-clean"          # not used with dev_fraction
dev_fraction=0                   # above 0: dev is this share of the speakers of train_subsets

help_message=$(sed -n '/^librispeech/,/^$/p' "${BASH_SOURCE[0]}")

. ./path.sh
. ./db.sh
. utils/parse_options.sh

corpus=${librispeech:-${LIBRISPEECH}}
if [ -z "${corpus}" ]; then
    echo "$0: set LIBRISPEECH in db.sh to the folder with SPEAKERS.TXT" >&2
    exit 1
fi

# The names of subsets and directories are words of their own.
# shellcheck disable=SC2086
if [ "${dev_fraction}" != 0 ]; then
    python3 local/prepare.py "${corpus}" --subsets ${train_subsets//,/ } --output data/train \
        --data_dirs ${data_dirs//,/ } --held_out "${dev_fraction}" --held_out_output data/dev
else
    python3 local/prepare.py "${corpus}" --subsets ${train_subsets//,/ } --output data/train \
        --data_dirs ${data_dirs//,/ }
    python3 local/prepare.py "${corpus}" --subsets ${dev_subsets//,/ } --output data/dev
fi

for set in train dev; do
    utils/validate_data_dir.sh --no-feats --no-text "data/${set}"
done
