#!/usr/bin/env bash
# Spoofing countermeasures, black-box attacks on them, and defences, after Wu, Liu and Lee,
# "Defense for Black-box Attacks on Anti-spoofing Models by Self-Supervised Learning" (2020).
# Called by the run.sh of a recipe, from the recipe's directory.
# shellcheck disable=SC1091,SC2034,SC2154,SC2329
set -euo pipefail

. utils/stages.sh
. utils/checks.sh

# General
stage=1                  # first stage
stop_stage=10            # last stage
nj=2                     # jobs at once on this machine
ngpu=0                   # GPUs of a training on each machine; scoring and attacks use one of them
num_nodes=1              # machines of a training; more than one with cmd_backend slurm or sge
seeds="0"                # of training; every seed is a model of its own (paper: one)
expdir=exp               # models and results
dumpdir=dump             # formatted data

# Data
train_set=train          # directory below data/ that is trained on
valid_set=dev            # directory below data/ that chooses the epoch and the threshold
test_set="eval"          # directory below data/ that is scored and attacked
bonafide_sets=           # directories below data/ of bona fide speech of other corpora: how much of it
                         # is answered "bona fide"? e.g. "librispeech_mini fsdd"
fs=16000                 # sample rate in Hz (paper: 16000)
min_seconds=0.3          # shorter training utterances are left out
max_seconds=30           # longer training utterances are left out
allow_shared_audio=false # true to accept audio that is both trained on and tested on; the report says so
local_data_opts=         # options of local/data.sh
format_args=             # more options of espnet_ext.bin.format_data for all sets,
                         # e.g. "--drop_bad_audio true"
asv_scores=              # of the test set, for the min t-DCF; data/<test_set>/asv_scores if empty

# Mockingjay
ssl_config=conf/train_ssl.yaml      # pretraining (paper: LARGE, LibriSpeech 360 h)
ssl_train_set=${train_set}          # directory below data/ that is pretrained on
ssl_valid_set=${valid_set}          # directory below data/ that chooses its epoch
ssl_seed=0               # one pretraining for all seeds of the countermeasures
ssl_args=                # more options of espnet_ext.bin.ssl_train
ssl_checkpoint=          # a pretrained one instead of stage 4: its directory, an archive of it, or
                         # its weights with config.yaml beside them
whisper_checkpoint=      # Whisper's weights, such as tiny.en.pt, for lists that have @WHISPER@

# Countermeasures: architecture, variant, base, configuration, options of each
models=conf/models.yaml  # paper: LCNN and SENet; Mel, Mock, rand, scratch, three filters
train_args=              # more options of espnet_ext.bin.cm_train, e.g. "--max_epoch 1"
inference_model=latest.pth          # weights that are scored and attacked: the last epoch, at whose
                         # end the learning rate is 0; valid.cross_entropy.best.pth is the epoch
                         # that is best on ${valid_set} (code: by accuracy)

# Attack
attack_config=conf/attack.yaml      # methods, eps (paper: FGSM, PGD; 0.1, 1, 2, 4, 8, 16); or none
attack_args=             # more options of espnet_ext.bin.cm_attack for all sources: keys of the YAML
                         # that are different this time, e.g. "--set methods=[pgd] eps=[0.3,1]"
attack_sources="lcnn_mel senet_mel" # models that the attacker has, or all (paper: these two)
attack_targets=other     # who is attacked: other (of the other architecture, as in the paper, and
                         # the source itself), self, all, or names
attack_shards=1          # parts of the utterances that are attacked in parallel

# LNSR: which of the models hold the pretrained and the random Mockingjay
lnsr_config=conf/attack_lnsr.yaml   # what the adversarial examples are (paper: PGD, 8 and 16)
lnsr_args=               # more options of espnet_ext.bin.cm_lnsr, e.g. "--set eps=[1,8]"
lnsr_source=senet_mel    # model that they are made with
lnsr_pretrained=lcnn_mock           # countermeasure with the pretrained Mockingjay
lnsr_random=lcnn_rand    # countermeasure with the random one

# Report
report_config=conf/report.yaml      # panels of the figures, who is compared with whom, colours

help_message=$(cat << EOF
Usage: ./run.sh [--stage N] [--stop_stage M] [--option value ...]

Stages:
    1  local/data.sh: the corpus                    -> data/
    2  check and format audio                       -> ${dumpdir}/
    3  lengths                                      -> ${expdir}/stats/, ${expdir}/ssl_stats/
    4  pretrain Mockingjay                          -> ${expdir}/ssl_seed*/
    5  train countermeasures                        -> ${expdir}/<model>_seed*/
    6  put filters before trained ones              -> ${expdir}/<model>_seed*/
    7  score dev and test                           -> ${expdir}/<model>_seed*/score/
    8  attack, score the targets                    -> ${expdir}/<source>_seed*/attack*/
    9  layerwise noise to signal, linear probe      -> ${expdir}/{lnsr,probe}_seed*/
    10 tables, figures, HTML page, cards            -> ${expdir}/report_*/RESULTS.md

Options and their defaults:
$(list_options "${BASH_SOURCE[0]}")
EOF
)

. utils/parse_options.sh

# Before the environment is loaded: what needs no Python.
check_common 10 "$@"
check_seeds seeds
check_sets train_set valid_set test_set bonafide_sets
check_sets ssl_train_set ssl_valid_set test_set
check_whole 0 ssl_seed
check_whole 1 attack_shards
check_options format_args train_args ssl_args attack_args lnsr_args
check_weights 5
check_files models asv_scores report_config
if [[ -n ${ssl_checkpoint} && (! -e ${ssl_checkpoint} || ${ssl_checkpoint} == *[[:space:]]*) ]]; then
    refuse "--ssl_checkpoint must be a path without blanks that is there, not '${ssl_checkpoint}'"
fi
check_files whisper_checkpoint
if [ "${attack_config}" != none ]; then check_files attack_config; fi

. ./path.sh
. ./cmd.sh
check_machines 4 5 9
listed_models=$(python3 -m espnet_ext.bin.read_list models "${models}")
mapfile -t model_names < <(cut -f 1 <<< "${listed_models}")
if asked 5 && [[ -z ${whisper_checkpoint} && ${listed_models} == *@WHISPER@* ]]; then
    refuse "${models} needs --whisper_checkpoint, a file such as tiny.en.pt"
fi
if asked 8 && [ "${attack_config}" != none ]; then
    case ${attack_sources} in
        all) ;;
        *) check_names attack_sources "${models}" "${model_names[@]}" ;;
    esac
    case ${attack_targets} in
        other | self | all) ;;
        *) check_names attack_targets "${models}" "${model_names[@]}" ;;
    esac
fi

# What this run is made of
stats_dir=${expdir}/stats
ssl_stats_dir=${expdir}/ssl_stats
ssl_dir=${expdir}/ssl_seed${ssl_seed}
attack_name=$(basename "${attack_config}" .yaml)
list_name=$(basename "${models}" .yaml)
report_dir=${expdir}/${list_name/#models/report}_${attack_name}
# Lists and attacks may run at the same time, so each has jobs and logs of its own.
log_dir=${expdir}/log/${list_name}
overlap=${dumpdir}/overlap_${train_set}_${valid_set}_${test_set}.json
read -ra other_corpora <<< "${bonafide_sets}"
bonafide_dirs=("${other_corpora[@]/#/${dumpdir}/}")
one_gpu=$((ngpu > 0 ? 1 : 0))

# Lines of the models, fields by tabs: model_lines <trained|defended|all>
model_lines() {
    awk -F '\t' -v kind="$1" '{
        if (kind == "all" || (kind == "trained") == ($4 == "-")) print }' <<< "${listed_models}"
}

# Whether Mockingjay is pretrained here: a model of the list has it, and no checkpoint is given.
pretrains_ssl() {
    [ -z "${ssl_checkpoint}" ] && model_lines all | grep @SSL@ > /dev/null
}

# Whether the list has the three models of LNSR and probe; else stage 9 is left out.
has_lnsr_models() {
    local name
    for name in "${lnsr_source}" "${lnsr_pretrained}" "${lnsr_random}"; do
        grep -qxF -- "${name}" < <(printf '%s\n' "${model_names[@]}") || return 1
    done
}

# Names of the models that the attacker has.
sources() {
    if [ "${attack_sources}" = all ]; then
        model_lines all | cut -f 1
    else
        tr ' ' '\n' <<< "${attack_sources}"
    fi
}

# Names of the models that an attack with source $1 is scored on.
targets_of() {
    case ${attack_targets} in
        other)
            model_lines all | awk -F '\t' -v source="$1" '
                { name[NR] = $1; architecture[$1] = $2 }
                END {
                    for (i = 1; i <= NR; i++)
                        if (name[i] == source || architecture[name[i]] != architecture[source])
                            print name[i]
                }'
            ;;
        all) model_lines all | cut -f 1 ;;
        self) echo "$1" ;;
        *) tr ' ' '\n' <<< "${attack_targets}" ;;
    esac
}

# Configuration and weights of a model as options: model_files <prefix> <name> <seed>
model_files() {
    local dir=${expdir}/$2_seed$3
    printf ' --%s_config %q --%s_checkpoint %q' "$1" "${dir}/config.yaml" \
        "$1" "${dir}/${inference_model}"
}

# Data of training and validation; sets ${data_options[@]}:
# set_data_options <train> <valid> <labels or none>
set_data_options() {
    local part set
    data_options=()
    for part in "train $1" "valid $2"; do
        set=${dumpdir}/${part#* }
        part=--${part% *}_data_path_and_name_and_type
        data_options+=("${part}" "${set}/wav.scp,speech,sound")
        if [ "$3" = labels ]; then data_options+=("${part}" "${set}/utt2label,label,text"); fi
    done
}

# Print the command that trains a model: train_command <name> <seed> <configuration> <option ...>
train_command() {
    local name=$1 seed=$2 config=$3
    shift 3
    set_data_options "${train_set}" "${valid_set}" labels
    printf 'python3 -m espnet_ext.bin.cm_train'
    printf ' %q' --config "${config}" "${data_options[@]}" \
        --train_shape_file "${stats_dir}/train/speech_shape" \
        --valid_shape_file "${stats_dir}/valid/speech_shape" \
        --seed "${seed}" --ngpu "${ngpu}" --multiprocessing_distributed true --resume true \
        --output_dir "${expdir}/${name}_seed${seed}"
    printf ' %s' "$@" "${train_args}"
    printf '\n'
}

# The options of a model with the checkpoint and the seed put in: fill_in <seed> <options>
fill_in() {
    local options=${2//@SSL@/${ssl_checkpoint:-${ssl_dir}/valid.loss.best.pth}}
    options=${options//@WHISPER@/${whisper_checkpoint}}
    echo "${options//@SEED@/$1}"
}

# What later stages would refuse.
check_later_stages() {
    local config options
    if asked 2; then check_command_options --format_args format_data "${format_args}"; fi
    if { asked 3 || asked 4; } && pretrains_ssl; then
        check_files ssl_config
        check_command_options "--ssl_config or --ssl_args" ssl_train \
            "--config ${ssl_config@Q} ${ssl_args}"
    fi
    if asked 3 || asked 5; then
        while IFS=$'\t' read -r config options; do
            check_command_options "--models or --train_args" cm_train \
                "--config ${config@Q} $(fill_in 0 "${options}") ${train_args}"
        done < <(model_lines trained | cut -f 5- | sort -u)
    fi
    if asked 8 && [ "${attack_config}" != none ]; then
        check_command_options "--attack_config or --attack_args" cm_attack \
            "--config ${attack_config@Q} ${attack_args}"
    fi
    if asked 9 && has_lnsr_models; then
        check_files lnsr_config
        check_command_options "--lnsr_config or --lnsr_args" cm_lnsr \
            "--config ${lnsr_config@Q} ${lnsr_args}"
    fi
    if asked 4 && pretrains_ssl; then check_made 3 "${ssl_stats_dir}"/{train,valid}/speech_shape; fi
    if asked 5; then
        check_made 3 "${stats_dir}"/{train,valid}/speech_shape
        if pretrains_ssl; then check_made 4 "${ssl_dir}/valid.loss.best.pth"; fi
    fi
    if asked 7; then check_made 2 "${bonafide_dirs[@]/%//utt2label}"; fi
    run_checks
}
check_later_stages

# A function, so that bash has read all of it before the first stage runs: the file may be edited
# while it works.
main() {
    local seed name base config options jobs set shard target dir data_options outputs
    local with_lnsr=true
    mkdir -p "${log_dir}"

    if stage 1 "local/data.sh: corpus (db.sh) -> data/{${train_set},${valid_set},${test_set}}"; then
        # shellcheck disable=SC2086
        local/data.sh ${local_data_opts}
    fi

    if stage 2 "check and format audio at ${fs} Hz: data/ -> ${dumpdir}/"; then
        for set in "${train_set}" "${ssl_train_set}" "${valid_set}" "${ssl_valid_set}"; do
            echo "${set}"
        done | sort -u | while read -r set; do
            format_set "${set}" "${min_seconds}" "${max_seconds}"
        done
        format_set "${test_set}" 0 inf
        for set in "${other_corpora[@]}"; do
            format_set "${set}" 0 inf
            awk '{ print $1, "bonafide" }' "${dumpdir}/${set}/wav.scp" > "${dumpdir}/${set}/utt2label"
        done
        check_overlap --train "${dumpdir}/${train_set}" "${dumpdir}/${ssl_train_set}" \
            --valid "${dumpdir}/${valid_set}" "${dumpdir}/${ssl_valid_set}" \
            --test "${dumpdir}/${test_set}" "${bonafide_dirs[@]}"
    fi

    if stage 3 "lengths: ${dumpdir}/ -> ${stats_dir}/, ${ssl_stats_dir}/"; then
        set_data_options "${train_set}" "${valid_set}" labels
        collect_stats espnet_ext.bin.cm_train "${stats_dir}" "${data_options[@]}" \
            --config "$(model_lines trained | head -n 1 | cut -f 5)"
        if pretrains_ssl; then
            set_data_options "${ssl_train_set}" "${ssl_valid_set}" none
            train_set=${ssl_train_set} valid_set=${ssl_valid_set} collect_stats \
                espnet_ext.bin.ssl_train "${ssl_stats_dir}" "${data_options[@]}" \
                --config "${ssl_config}"
        fi
    fi

    if [ -n "${ssl_checkpoint}" ]; then
        log "Stage 4 is left out: Mockingjay is ${ssl_checkpoint}"
    elif ! pretrains_ssl; then
        log "Stage 4 is left out: no model of ${models} has a pretrained Mockingjay"
    elif stage 4 "pretrain: ${dumpdir}/${ssl_train_set}, ${ssl_stats_dir}/ -> ${ssl_dir}/"; then
        set_data_options "${ssl_train_set}" "${ssl_valid_set}" none
        # Options are words of their own.
        # shellcheck disable=SC2086
        pretrain "${ssl_config}" "${ssl_stats_dir}" "${ssl_seed}" "${ssl_dir}" \
            "${data_options[@]}" ${ssl_args}
    fi

    if stage 5 "train: ${models}, ${dumpdir}/, ${stats_dir}/ -> ${expdir}/<model>_seed*/"; then
        jobs=${log_dir}/train.sh
        for seed in ${seeds}; do
            while IFS=$'\t' read -r name _ _ _ config options; do
                train_command "${name}" "${seed}" "${config}" \
                    "$(fill_in "${seed}" "${options}")"
            done < <(model_lines trained)
        done > "${jobs}"
        train_list "${jobs}" "${log_dir}/train"
    fi

    if stage 6 "defend: ${models}, ${expdir}/<base>_seed*/ -> ${expdir}/<model>_seed*/"; then
        jobs=${log_dir}/defend.sh
        for seed in ${seeds}; do
            while IFS=$'\t' read -r name _ _ base _ options; do
                printf 'python3 -m espnet_ext.bin.cm_defend'
                printf ' %q' --cm_train_config "${expdir}/${base}_seed${seed}/config.yaml" \
                    --cm_model_file "${expdir}/${base}_seed${seed}/${inference_model}" \
                    --output_dir "${expdir}/${name}_seed${seed}"
                printf ' %s\n' "$(fill_in "${seed}" "${options}")"
            done < <(model_lines defended)
        done > "${jobs}"
        if [ -s "${jobs}" ]; then run_list "${train_cmd}" 0 "${jobs}" "${log_dir}/defend"; fi
    fi

    if stage 7 "score: ${dumpdir}/, ${models} -> ${expdir}/<model>_seed*/score/"; then
        jobs=${log_dir}/score.sh
        for seed in ${seeds}; do
            for name in $(model_lines all | cut -f 1); do
                dir=${expdir}/${name}_seed${seed}
                printf 'python3 -m espnet_ext.bin.cm_inference'
                outputs=("${other_corpora[@]/#/${dir}/score/bonafide/}")
                printf ' %q' --cm_train_config "${dir}/config.yaml" \
                    --cm_model_file "${dir}/${inference_model}" --ngpu "${one_gpu}" \
                    --data_dir "${dumpdir}/${valid_set}" "${dumpdir}/${test_set}" "${bonafide_dirs[@]}" \
                    --output "${dir}/score/dev/scores.txt" "${dir}/score/eval/scores.txt" \
                    "${outputs[@]/%//scores.txt}"
                printf '\n'
            done
        done > "${jobs}"
        run_list "${decode_cmd}" "${one_gpu}" "${jobs}" "${log_dir}/score"
    fi

    if [ "${attack_config}" = none ]; then
        log "Stage 8 is left out: no attack is asked for"
    elif stage 8 "attack: ${attack_config}, ${dumpdir}/${test_set} -> ${expdir}/<source>_seed*/"; then
        jobs=${log_dir}/${attack_name}.sh
        for seed in ${seeds}; do
            for name in $(sources); do
                for shard in $(seq "${attack_shards}"); do
                    printf 'python3 -m espnet_ext.bin.cm_attack'
                    model_files source "${name}" "${seed}"
                    for target in $(targets_of "${name}"); do
                        dir=${expdir}/${target}_seed${seed}
                        printf ' --target %q' \
                            "${target}=${dir}/config.yaml,${dir}/${inference_model}"
                    done
                    printf ' %q' --data_dir "${dumpdir}/${test_set}" --config "${attack_config}" \
                        --dev_scores "${expdir}/${name}_seed${seed}/score/dev/scores.txt" \
                        --output_dir "${expdir}/${name}_seed${seed}/${attack_name}" \
                        --shard "${shard}/${attack_shards}" --ngpu "${one_gpu}"
                    printf ' %s\n' "${attack_args}"
                done
            done
        done > "${jobs}"
        run_list "${decode_cmd}" "${one_gpu}" "${jobs}" "${log_dir}/${attack_name}"
    fi

    if ! has_lnsr_models; then
        log "Stage 9 is left out: ${models} lacks ${lnsr_source}, ${lnsr_pretrained} or ${lnsr_random}"
        with_lnsr=false
    elif stage 9 "LNSR, probe: ${lnsr_config}, ${expdir}/ -> ${expdir}/{lnsr,probe}_seed*/"; then
        jobs=${log_dir}/lnsr.sh
        for seed in ${seeds}; do
            printf 'python3 -m espnet_ext.bin.cm_lnsr'
            model_files source "${lnsr_source}" "${seed}"
            model_files pretrained "${lnsr_pretrained}" "${seed}"
            model_files random "${lnsr_random}" "${seed}"
            printf ' %q' --data_dir "${dumpdir}/${test_set}" --config "${lnsr_config}" \
                --output_dir "${expdir}/lnsr_seed${seed}" --ngpu "${one_gpu}"
            printf ' %s\n' "${lnsr_args}"
            printf 'python3 -m espnet_ext.bin.cm_probe'
            model_files pretrained "${lnsr_pretrained}" "${seed}"
            model_files random "${lnsr_random}" "${seed}"
            printf ' %q' --train "${dumpdir}/${train_set}" --dev "${dumpdir}/${valid_set}" \
                --eval "${dumpdir}/${test_set}" --output_dir "${expdir}/probe_seed${seed}" \
                --ngpu "${one_gpu}"
            printf '\n'
        done > "${jobs}"
        run_list "${decode_cmd}" "${one_gpu}" "${jobs}" "${log_dir}/lnsr"
    fi

    if stage 10 "tables, figures, page, cards: ${expdir}/ -> ${report_dir}/"; then
        asv=()
        if [ -z "${asv_scores}" ]; then asv_scores=data/${test_set}/asv_scores; fi
        if [ -f "${asv_scores}" ]; then asv=(--asv_scores "${asv_scores}"); fi
        python3 -m espnet_ext.bin.cm_report --models "${models}" --expdir "${expdir}" \
            --seeds "${seeds}" --attack_name "${attack_name}" \
            --utt2spk "${dumpdir}/${test_set}/utt2spk" --lnsr "${with_lnsr}" \
            --layout "${report_config}" \
            --overlap "${overlap}" --output_dir "${report_dir}" "${asv[@]}" \
            --bonafide_dirs "${bonafide_dirs[@]}"
        python3 -m espnet_ext.bin.report "${report_dir}" --output "${report_dir}/report.html"
        if [ "${attack_config}" != none ]; then
            python3 -m espnet_ext.bin.card "${report_dir}" --output_dir "${report_dir}/cards"
        fi
        log "The report: ${PWD}/${report_dir}/RESULTS.md"
    fi

    log "Done in ${SECONDS} s"
}

claim 1 2 dumpdir
claim 3 3 expdir stats
claim 4 7 expdir "${list_name}"
claim 8 10 expdir "${list_name}_${attack_name}"
run_main; exit
