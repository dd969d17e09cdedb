#!/usr/bin/env bash
# Mockingjay pretraining, after Liu et al. (2020), as Wu, Liu and Lee (2020) use it.
# Called by the run.sh of a recipe, from the recipe's directory.
# shellcheck disable=SC1091,SC2034,SC2154,SC2329
set -euo pipefail

. utils/stages.sh
. utils/checks.sh

# General
stage=1                  # first stage
stop_stage=5             # last stage
nj=2                     # jobs at once on this machine
ngpu=0                   # GPUs of the training on each machine
num_nodes=1              # machines of a training; more than one with cmd_backend slurm or sge
seed=0                   # of initialisation, batches and masks
expdir=exp               # models and results
dumpdir=dump             # formatted data

# Data
train_set=train          # directory below data/ that is trained on
valid_set=dev            # directory below data/ that chooses the epoch: other speakers
test_sets=               # more directories below data/ that the reconstruction is measured on
fs=16000                 # sample rate in Hz (paper: 16000)
min_seconds=0.5          # shorter utterances are left out
max_seconds=37.5         # longer utterances are left out (official code: 3000 frames)
allow_shared_audio=false # true to accept audio that is both trained on and tested on; the report says so
local_data_opts=         # options of local/data.sh
format_args=             # more options of espnet_ext.bin.format_data for all sets,
                         # e.g. "--drop_bad_audio true"

# Training
train_config=conf/train.yaml        # features, masking, encoder, optimiser (paper: LARGE)
train_args=              # more options of espnet_ext.bin.ssl_train, e.g. "--max_epoch 1"
inference_model=valid.loss.best.pth # weights that are evaluated

# Report
num_pictures=4           # utterances of which the reconstruction is drawn
evaluate_args=           # more options of espnet_ext.bin.ssl_evaluate, e.g. "--allow_pickle true"

help_message=$(cat << EOF
Usage: ./run.sh [--stage N] [--stop_stage M] [--option value ...]

Stages:
    1  local/data.sh: the corpus                    -> data/
    2  check and format audio                       -> ${dumpdir}/
    3  lengths and feature statistics               -> ${expdir}/<configuration>_stats/
    4  pretrain                                     -> ${expdir}/<configuration>_seed*/
    5  reconstruction loss, pictures                -> ${expdir}/<...>/reconstruction/

Options and their defaults:
$(list_options "${BASH_SOURCE[0]}")
EOF
)

. utils/parse_options.sh

# Before the environment is loaded: what needs no Python.
check_common 5 "$@"
check_whole 0 seed num_pictures
check_sets train_set valid_set test_sets
check_options format_args train_args evaluate_args
check_weights 4
check_files train_config

. ./path.sh
. ./cmd.sh
check_machines 4 4 5
if asked 2; then check_command_options --format_args format_data "${format_args}"; fi
if asked 5; then check_command_options --evaluate_args ssl_evaluate "${evaluate_args}"; fi
if asked 3 || asked 4; then
    check_command_options "--train_config or --train_args" ssl_train \
        "--config ${train_config@Q} ${train_args}"
fi

# What this run is made of
config_name=$(basename "${train_config}" .yaml)
stats_dir=${expdir}/${config_name}_stats
ssl_dir=${expdir}/${config_name}_seed${seed}
overlap=${dumpdir}/overlap_${train_set}_${valid_set}.json

if asked 4; then check_made 3 "${stats_dir}"/{train,valid}/speech_shape; fi
run_checks

# A function, so that bash has read all of it before the first stage runs: the file may be edited
# while it works.
main() {
    local set data_options=()
    for set in "train ${train_set}" "valid ${valid_set}"; do
        data_options+=("--${set% *}_data_path_and_name_and_type")
        data_options+=("${dumpdir}/${set#* }/wav.scp,speech,sound")
    done

    if stage 1 "local/data.sh: corpus (db.sh) -> data/"; then
        # shellcheck disable=SC2086
        local/data.sh ${local_data_opts}
    fi

    if stage 2 "check and format audio at ${fs} Hz: data/ -> ${dumpdir}/"; then
        for set in "${train_set}" "${valid_set}" ${test_sets}; do
            format_set "${set}" "${min_seconds}" "${max_seconds}"
        done
        local tested=()
        for set in ${test_sets}; do tested+=(--test "${dumpdir}/${set}"); done
        check_overlap --train "${dumpdir}/${train_set}" --valid "${dumpdir}/${valid_set}" \
            "${tested[@]}"
    fi

    if stage 3 "lengths, feature statistics: ${dumpdir}/ -> ${stats_dir}/"; then
        # Options are words of their own.
        # shellcheck disable=SC2086
        collect_stats espnet_ext.bin.ssl_train "${stats_dir}" --config "${train_config}" \
            "${data_options[@]}" ${train_args}
    fi

    if stage 4 "pretrain with ${train_config}: ${dumpdir}/, ${stats_dir}/ -> ${ssl_dir}/"; then
        # shellcheck disable=SC2086
        pretrain "${train_config}" "${stats_dir}" "${seed}" "${ssl_dir}" \
            "${data_options[@]}" ${train_args}
    fi

    if stage 5 "reconstruction: ${ssl_dir}/, ${dumpdir}/ -> ${ssl_dir}/reconstruction/"; then
        for set in "${valid_set}" ${test_sets}; do
            # shellcheck disable=SC2086
            python3 -m espnet_ext.bin.ssl_evaluate --ssl_train_config "${ssl_dir}/config.yaml" \
                --ssl_model_file "${ssl_dir}/${inference_model}" --data_dir "${dumpdir}/${set}" \
                --output_dir "${ssl_dir}/reconstruction/${set}" --num_pictures "${num_pictures}" \
                --ngpu "$((ngpu > 0 ? 1 : 0))" ${evaluate_args}
            cat "${ssl_dir}/reconstruction/${set}/RESULTS.md"
        done
    fi

    log "Done in ${SECONDS} s"
}

claim 1 2 dumpdir
claim 3 3 expdir "${stats_dir##*/}"
claim 4 5 expdir "${ssl_dir##*/}"
run_main; exit
