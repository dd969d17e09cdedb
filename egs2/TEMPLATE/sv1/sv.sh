#!/usr/bin/env bash
# Speaker verification under attack: impostors who are accepted, targets who are rejected.
# Called by the run.sh of a recipe, from the recipe's directory.
# shellcheck disable=SC1091,SC2034,SC2154,SC2329
set -euo pipefail

. utils/stages.sh
. utils/checks.sh

# General
stage=1                  # first stage
stop_stage=4             # last stage
nj=2                     # jobs at once on this machine
ngpu=0                   # 1 to compute on a GPU
num_nodes=1              # nothing is trained, so more machines are of no use
expdir=exp               # scores, attacks and reports
dumpdir=dump             # formatted data

# Data
test_set="test"          # directory below data/ with enrolments and test utterances
trials=                  # list of trials; data/<test_set>/trials, by default all pairs of utterances
enrolments=              # 'speaker utterance ...' lines, where trials name speakers
fs=16000                 # sample rate in Hz of what the model hears
min_seconds=0.5          # shorter utterances are left out
max_seconds=60           # longer utterances are left out
local_data_opts=         # options of local/data.sh
format_args=             # more options of espnet_ext.bin.format_data, e.g. "--drop_bad_audio true"

# Model
model_config=conf/resemblyzer.yaml  # of Resemblyzer, or config.yaml of ESPnet's task spk
model_file=              # its weights; by default those in the installed package resemblyzer

countermeasure=          # directory of a trained countermeasure that must accept as well, in tandem
dev_scores=              # its scores on development data, at whose EER threshold it decides

# Attack
attack_config=conf/attack.yaml      # goal, methods, budgets, steps
attack_args=             # more options of espnet_ext.bin.spk_attack: keys of the YAML file that are
                         # different this time, e.g. "--set goal=both steps=[10]"
num_trials=200           # trials of each kind that are attacked, evenly spread over the list; 0 for all
attack_shards=2          # parts of the trials that are attacked in parallel

help_message=$(cat << EOF
Usage: ./run.sh [--stage N] [--stop_stage M] [--option value ...]

Stages:
    1  local/data.sh: the corpus, trials            -> data/
    2  check and format audio                       -> ${dumpdir}/
    3  score all trials, attack some                -> ${expdir}/<model>/<attack>/
    4  page of the report                           -> ${expdir}/<model>/<attack>/report.html

Options and their defaults:
$(list_options "${BASH_SOURCE[0]}")
EOF
)

. utils/parse_options.sh

# Before the environment is loaded: what needs no Python.
check_common 4 "$@"
check_whole 1 attack_shards
check_whole 0 num_trials
check_sets test_set
check_options format_args attack_args
check_files model_config attack_config model_file enrolments trials dev_scores
if [ -n "${countermeasure}" ] && [ ! -e "${countermeasure}" ]; then
    refuse "--countermeasure: there is no ${countermeasure}"
fi
if [ -z "${trials}" ]; then trials=data/${test_set}/trials; fi

. ./path.sh
. ./cmd.sh
check_machines 5 4 4
if [ "${ngpu}" -gt 0 ]; then checks+=(--ngpu 1); fi
if asked 2; then check_command_options --format_args format_data "${format_args}"; fi
if asked 3; then
    if [ -z "${model_file}" ]; then
        # The package is not imported: its other parts need more packages.
        model_file=$(python3 -c 'if True:
            import importlib.util
            found = importlib.util.find_spec("resemblyzer")
            print(found.submodule_search_locations[0] + "/pretrained.pt" if found else "")')
    fi
    if [ ! -f "${model_file}" ]; then
        refuse "--model_file is empty, and the package resemblyzer is not installed; give the" \
            "weights of ${model_config}, or 'pip install --no-deps resemblyzer'"
    fi
    check_command_options "--attack_config or --attack_args" spk_attack \
        "--config ${attack_config@Q} ${attack_args}"
    check_made 2 "${dumpdir}/${test_set}/wav.scp"
fi
run_checks

# What this run is made of
model_name=$(basename "$(if [[ ${model_config} == */config.yaml ]]; then
    dirname "${model_config}"
else
    basename "${model_config}" .yaml
fi)")
attack_name=$(basename "${attack_config}" .yaml)
attack_dir=${expdir}/${model_name}/${attack_name}
log_dir=${expdir}/log/${model_name}_${attack_name}
if asked 4; then check_made 3 "${attack_dir}/results.json"; fi

# A function, so that bash has read all of it before the first stage runs: the file may be edited
# while it works.
main() {
    local shard further=()

    if stage 1 "local/data.sh: corpus (db.sh), trials -> data/"; then
        # Those of another corpus would stay where local/data.sh makes none.
        rm -f "data/${test_set}/trials"
        # shellcheck disable=SC2086
        local/data.sh ${local_data_opts}
        if [ ! -f "${trials}" ]; then
            awk '{
                for (i = 1; i < NR; i++) { print (speaker[i] == $2), name[i], $1 }
                name[NR] = $1
                speaker[NR] = $2
            }' "data/${test_set}/utt2spk" > "${trials}.part"
            mv "${trials}.part" "${trials}"
        fi
    fi

    if stage 2 "check and format audio at ${fs} Hz: data/ -> ${dumpdir}/"; then
        format_set "${test_set}" "${min_seconds}" "${max_seconds}"
    fi

    if stage 3 "score and attack trials: ${trials}, ${dumpdir}/ -> ${attack_dir}/"; then
        mkdir -p "${log_dir}"
        if [ -n "${enrolments}" ]; then further+=(--enrolments "${enrolments}"); fi
        if [ -n "${countermeasure}" ]; then further+=(--countermeasure "${countermeasure}"); fi
        if [ -n "${dev_scores}" ]; then further+=(--dev_scores "${dev_scores}"); fi
        for shard in $(seq "${attack_shards}"); do
            printf 'python3 -m espnet_ext.bin.spk_attack'
            printf ' %q' --spk_train_config "${model_config}" --spk_model_file "${model_file}" \
                --wav_scp "${dumpdir}/${test_set}/wav.scp" \
                --utt2spk "${dumpdir}/${test_set}/utt2spk" --trials "${trials}" \
                "${further[@]}" --num_trials "${num_trials}" --config "${attack_config}" \
                --output_dir "${attack_dir}" --shard "${shard}/${attack_shards}" \
                --ngpu "$((ngpu > 0 ? 1 : 0))"
            printf ' %s\n' "${attack_args}"
        done > "${log_dir}/jobs.sh"
        run_list "${decode_cmd}" "$((ngpu > 0 ? 1 : 0))" "${log_dir}/jobs.sh" "${log_dir}"
    fi

    if stage 4 "page: ${attack_dir}/ -> ${attack_dir}/report.html"; then
        python3 -m espnet_ext.bin.report "${attack_dir}" --output "${attack_dir}/report.html"
        log "The report: ${PWD}/${attack_dir}/RESULTS.md"
    fi

    log "Done in ${SECONDS} s"
}

claim 1 2 dumpdir
claim 3 4 expdir "${model_name}_${attack_name}"
run_main; exit
