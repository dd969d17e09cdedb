#!/usr/bin/env bash
# Data preparation of the asvspoof2019 recipe: data/train, data/dev and data/eval from the
# protocols of ASVspoof 2019 LA, at ASVSPOOF2019_LA (see db.sh). With eval_protocol also
# data/<eval_name>, from a protocol of ASVspoof 2021 (LA, DF) or ASVspoof 5.
# shellcheck disable=SC1091,SC2034
set -euo pipefail

asvspoof2019_la=     # the corpus, in place of ASVSPOOF2019_LA in db.sh
eval_protocol=       # another evaluation set: its protocol (trial_metadata.txt, *.tsv)
eval_audio=          # folder with its audio
eval_name=           # its name below data/
eval_layout=         # 2021_la, 2021_df, asvspoof5, ...; empty to tell by the columns
eval_subset=         # of ASVspoof 2021: eval, progress or hidden; empty for all

help_message=$(sed -n '/^asvspoof2019_la/,/^$/p' "${BASH_SOURCE[0]}")

. ./path.sh
. ./db.sh
. utils/parse_options.sh

corpus=${asvspoof2019_la:-${ASVSPOOF2019_LA}}
if [ -z "${corpus}" ]; then
    echo "$0: set ASVSPOOF2019_LA in db.sh to the folder with ASVspoof2019_LA_cm_protocols/" >&2
    exit 1
fi
python3 local/prepare.py "${corpus}"
sets=(train dev eval)

if [ -n "${eval_protocol}" ]; then
    python3 local/prepare.py --protocol "${eval_protocol}" --audio "${eval_audio}" \
        --name "${eval_name}" ${eval_layout:+--layout "${eval_layout}"} \
        ${eval_subset:+--subset "${eval_subset}"}
    sets+=("${eval_name}")
fi

for set in "${sets[@]}"; do
    utils/validate_data_dir.sh --no-feats --no-text "data/${set}"
done
