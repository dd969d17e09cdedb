#!/usr/bin/env bash
# data/{train,dev,test} from speechocean762 at SPEECHOCEAN762 (see db.sh), with gender and age group.
# shellcheck disable=SC1091
set -euo pipefail
. ./path.sh
. ./db.sh
corpus=${SPEECHOCEAN762:?set SPEECHOCEAN762 in db.sh to the folder with train/, test/ and WAVE/}

for set in train test; do
    from=${corpus}/${set} to=data/local/${set}
    mkdir -p "${to}"
    awk -v corpus="${corpus}" '{ print $1, corpus "/" $2 }' "${from}/wav.scp" > "${to}/wav.scp"
    tr '\t' ' ' < "${from}/utt2spk" > "${to}/utt2spk"
    tr '\t' ' ' < "${from}/text" > "${to}/text"
    # Labels of speakers become labels of their utterances.
    awk 'NR == FNR { gender[$1] = $2; next } { print $1, gender[$2] }' \
        "${from}/spk2gender" "${from}/utt2spk" > "${to}/utt2gender"
    awk 'NR == FNR { age[$1] = $2; next } { print $1, age[$2] < 15 ? "child" : "adult" }' \
        "${from}/spk2age" "${from}/utt2spk" > "${to}/utt2age_group"
    utils/fix_data_dir.sh "${to}"
done

# Every seventh speaker of the training set is for development.
list=data/local/lists
mkdir -p "${list}"
cut -d ' ' -f 2 data/local/train/utt2spk | sort -u | awk 'NR % 7 == 0' > "${list}/dev_speakers"
awk 'NR == FNR { dev[$1]; next } $2 in dev' "${list}/dev_speakers" data/local/train/utt2spk > "${list}/dev"
awk 'NR == FNR { dev[$1]; next } !($2 in dev)' "${list}/dev_speakers" data/local/train/utt2spk > "${list}/train"
utils/subset_data_dir.sh --utt-list "${list}/dev" data/local/train data/dev
utils/subset_data_dir.sh --utt-list "${list}/train" data/local/train data/train
utils/copy_data_dir.sh data/local/test data/test
for set in train dev test; do utils/validate_data_dir.sh --no-feats "data/${set}"; done
