#!/usr/bin/env bash
# Data preparation of the commonvoice recipe: data/train, data/dev and data/test from an
# extracted release of Common Voice at COMMONVOICE (see db.sh).
# shellcheck disable=SC1091,SC2034
set -euo pipefail

language=en            # folder of the release (paper: en)
heads=accent           # labels that a clip must have, also with commas: accent,age,gender
accents=us,indian      # accents to keep; empty for all (paper: us,indian)
speaker_split=false    # divide validated.tsv by speakers, for a release without splits
seed=0                 # of that division

help_message=$(sed -n '/^language/,/^$/p' "${BASH_SOURCE[0]}")

. ./path.sh
. ./db.sh
. utils/parse_options.sh

if [ -z "${COMMONVOICE}" ]; then
    echo "$0: set COMMONVOICE in db.sh to an extracted release; it is fetched by hand from" >&2
    echo "    https://commonvoice.mozilla.org/datasets (the paper: English, 7.0 or near it)" >&2
    exit 1
fi

# Heads and accents are words of their own.
# shellcheck disable=SC2086
python3 local/prepare.py "${COMMONVOICE}" --language "${language}" --heads ${heads//,/ } \
    --accents ${accents//,/ } --speaker_split "${speaker_split}" --seed "${seed}"

for set in train dev test; do
    utils/validate_data_dir.sh --no-feats "data/${set}"
done
