#!/usr/bin/env bash
# Attack on a recognizer that is trained already: what it hears before and after, and with noise.
# Called by the run.sh of a recipe, from the recipe's directory.
# shellcheck disable=SC1091,SC2034,SC2154,SC2329
set -euo pipefail

. utils/stages.sh
. utils/checks.sh

# General
stage=1                  # first stage
stop_stage=6             # last stage
nj=2                     # jobs at once on this machine
ngpu=0                   # 1 to compute on a GPU
num_nodes=1              # nothing is trained, so more machines are of no use
expdir=exp               # transcripts, attacks and reports
dumpdir=dump             # formatted data

# Data
test_set="test"          # directory below data/ that is transcribed and attacked
fs=16000                 # sample rate in Hz of what the model hears
min_seconds=0.1          # shorter utterances are left out
max_seconds=30           # longer utterances are left out (Whisper hears 30 s)
local_data_opts=         # options of local/data.sh
format_args=             # more options of espnet_ext.bin.format_data, e.g. "--drop_bad_audio true"

# Model
model=                   # its directory, an archive of espnet2.bin.pack, or whisper:FILE of OpenAI
ctc_weight=              # lambda_C of inference; empty for that of training
model_args=              # more options of espnet_ext.bin.asr_inference and asr_attack for the model,
                         # e.g. "--lang_sym <eng>" or "--allow_pickle true"

# Attack
attack_config=conf/attack.yaml      # goal, methods, budgets, steps
attack_args=             # more options of espnet_ext.bin.asr_attack: keys of the YAML file that are
                         # different this time, e.g. "--set snr=[30] steps=[50]"
num_attack_utts=30       # utterances attacked, from all speakers; 0 for all
target_set=lorem_ipsum   # lorem_ipsum, or a file with one target per line (paper: lorem ipsum)
target_length_unit=word  # word or character: what "closest length" counts
attack_shards=2          # parts of the utterances that are attacked in parallel
interval_unit=utterance  # utterance or speaker: what the bootstrap draws

help_message=$(cat << EOF
Usage: ./run.sh --model MODEL [--stage N] [--stop_stage M] [--option value ...]

Stages:
    1  local/data.sh: the corpus                    -> data/
    2  check and format audio                       -> ${dumpdir}/
    3  transcribe the test set                      -> ${expdir}/<model>/decode/
    4  choose utterances and targets                -> ${expdir}/<model>/targets/
    5  attack                                       -> ${expdir}/<model>/<attack>/
    6  page and card                                -> ${expdir}/<model>/<attack>/report.html

Options and their defaults:
$(list_options "${BASH_SOURCE[0]}")
EOF
)

. utils/parse_options.sh

# Before the environment is loaded: what needs no Python.
check_common 6 "$@"
check_whole 1 attack_shards
check_whole 0 num_attack_utts
check_sets test_set
check_options format_args model_args attack_args
check_choice target_length_unit word character
check_choice interval_unit utterance speaker
check_files attack_config
if asked 4 && [ "${target_set}" != lorem_ipsum ]; then check_files target_set; fi
if asked 3 || asked 4 || asked 5 || asked 6; then
    if [ -z "${model}" ]; then
        refuse "which model? Give --model: a directory, an archive of espnet2.bin.pack, or whisper:FILE"
    fi
    if [ ! -e "${model#whisper:}" ]; then refuse "--model: there is no ${model#whisper:}"; fi
fi

. ./path.sh
. ./cmd.sh
check_machines 7 3 5
weight=()
if [ -n "${ctc_weight}" ]; then weight=(--ctc_weight "${ctc_weight}"); fi
if [ "${ngpu}" -gt 0 ]; then checks+=(--ngpu 1); fi
if asked 2; then check_command_options --format_args format_data "${format_args}"; fi
if asked 3; then
    check_command_options "--ctc_weight or --model_args" asr_inference "${weight[*]} ${model_args}"
fi
if asked 5; then
    check_command_options "--attack_config, --attack_args or --model_args" asr_attack \
        "--config ${attack_config@Q} ${weight[*]} ${model_args} ${attack_args}"
fi
run_checks

# What this run is made of
model_name=$(basename "${model#whisper:}")
case ${model_name} in
    *.pt | *.zip | *.tgz) model_name=${model_name%.*} ;;
esac
attack_name=$(basename "${attack_config}" .yaml)
decode_dir=${expdir}/${model_name}/decode/${test_set}
attack_dir=${expdir}/${model_name}/${attack_name}
targets=${expdir}/${model_name}/targets/${test_set}_${num_attack_utts}
one_gpu=$((ngpu > 0 ? 1 : 0))

# A function, so that bash has read all of it before the first stage runs: the file may be edited
# while it works.
main() {
    local jobs shard log_dir=${expdir}/log/${model_name} speakers=() by_speaker=()
    if [ "${interval_unit}" = speaker ]; then
        speakers=(--utt2spk "${dumpdir}/${test_set}/utt2spk")
        by_speaker=(--by_speaker true)
    fi

    if stage 1 "local/data.sh: corpus (db.sh) -> data/${test_set}"; then
        # shellcheck disable=SC2086
        local/data.sh ${local_data_opts}
    fi

    if stage 2 "check and format audio at ${fs} Hz: data/ -> ${dumpdir}/"; then
        format_set "${test_set}" "${min_seconds}" "${max_seconds}"
    fi

    if stage 3 "transcribe ${dumpdir}/${test_set} -> ${decode_dir}/"; then
        mkdir -p "${log_dir}"
        jobs=${log_dir}/decode_jobs.sh
        {
            printf 'python3 -m espnet_ext.bin.asr_inference'
            printf ' %q' --model "${model}" "${weight[@]}" --data_dir "${dumpdir}/${test_set}" \
                --output_dir "${decode_dir}" --ngpu "${one_gpu}" "${by_speaker[@]}"
            printf ' %s\n' "${model_args}"
        } > "${jobs}"
        run_list "${decode_cmd}" "${one_gpu}" "${jobs}" "${log_dir}/decode"
    fi

    if stage 4 "choose targets: ${dumpdir}/${test_set}, ${target_set} -> ${targets}"; then
        python3 -m espnet_ext.bin.make_targets --data_dir "${dumpdir}/${test_set}" \
            --num_utts "${num_attack_utts}" --target_set "${target_set}" \
            --length_unit "${target_length_unit}" --output "${targets}" \
            --asr_train_config "${model}"
    fi

    if stage 5 "attack, ${attack_config}: ${targets} -> ${attack_dir}/"; then
        mkdir -p "${log_dir}"
        jobs=${log_dir}/${attack_name}_jobs.sh
        for shard in $(seq "${attack_shards}"); do
            printf 'python3 -m espnet_ext.bin.asr_attack'
            printf ' %q' --model "${model}" "${weight[@]}" \
                --wav_scp "${dumpdir}/${test_set}/wav.scp" --targets "${targets}" \
                --text "${dumpdir}/${test_set}/text" --config "${attack_config}" \
                --output_dir "${attack_dir}" --shard "${shard}/${attack_shards}" \
                --ngpu "${one_gpu}" "${speakers[@]}"
            printf ' %s %s\n' "${model_args}" "${attack_args}"
        done > "${jobs}"
        run_list "${decode_cmd}" "${one_gpu}" "${jobs}" "${log_dir}/${attack_name}"
    fi

    if stage 6 "page and card: ${attack_dir}/ -> ${attack_dir}/report.html"; then
        check_made 5 "${attack_dir}/results.json"
        python3 -m espnet_ext.bin.report "${attack_dir}" \
            --wav_scp "${dumpdir}/${test_set}/wav.scp" --output "${attack_dir}/report.html"
        python3 -m espnet_ext.bin.card "${attack_dir}" --output_dir "${attack_dir}/cards"
        log "The report: ${PWD}/${attack_dir}/report.html"
    fi

    log "Done in ${SECONDS} s"
}

claim 1 2 dumpdir
claim 3 4 expdir "${model_name}"
claim 5 6 expdir "${model_name}_${attack_name}"
run_main; exit
