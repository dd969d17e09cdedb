#!/usr/bin/env bash
# Data preparation of the librispeech recipe: data/test from a subset of the corpus at LIBRISPEECH
# (see db.sh).
# shellcheck disable=SC1091,SC2034
set -euo pipefail

librispeech=                     # the corpus, in place of LIBRISPEECH in db.sh
test_subsets="test-other"        # e.g. test-clean,test-other

help_message=$(sed -n '/^librispeech/,/^$/p' "${BASH_SOURCE[0]}")

. ./path.sh
. ./db.sh
. utils/parse_options.sh

corpus=${librispeech:-${LIBRISPEECH}}
if [ -z "${corpus}" ]; then
    echo "$0: set LIBRISPEECH in db.sh to the folder with SPEAKERS.TXT" >&2
    exit 1
fi

# One script for both recipes of the corpus; found from any copy of this directory.
prepare=$(dirname "$(readlink -f path.sh)")/../../librispeech/ssl1/local/prepare.py

# The names of subsets are words of their own.
# shellcheck disable=SC2086
python3 "${prepare}" "${corpus}" --subsets ${test_subsets//,/ } --output data/test

utils/validate_data_dir.sh --no-feats data/test
