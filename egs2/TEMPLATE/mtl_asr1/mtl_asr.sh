#!/usr/bin/env bash
# Multi-task ASR and its adversarial robustness, after Das and Chau, "Hear No Evil" (2022).
# Called by the run.sh of a recipe, from the recipe's directory.
# shellcheck disable=SC1091,SC2034,SC2154,SC2329
set -euo pipefail

. utils/stages.sh
. utils/checks.sh

# General
stage=1                  # first stage
stop_stage=10            # last stage
nj=2                     # jobs at once on this machine
ngpu=0                   # GPUs of a training on each machine; decoding and attacks use one of them
num_nodes=1              # machines of a training; more than one with cmd_backend slurm or sge
seeds="0"                # of initialisation and batches; every seed is a model of its own (paper: one)
expdir=exp               # models and results
dumpdir=dump             # formatted data

# Data
train_set=train          # directory below data/ that is trained on
valid_set=dev            # directory below data/ that chooses the epoch
test_set="test"          # directory below data/ that is transcribed and attacked
fs=16000                 # sample rate in Hz (paper: 16000)
min_seconds=0.1          # shorter training utterances are left out
max_seconds=30           # longer training utterances are left out
allow_shared_audio=false # true to accept audio that is both trained on and tested on; the report says so
local_data_opts=         # options of local/data.sh
format_args=             # more options of espnet_ext.bin.format_data for all sets,
                         # e.g. "--drop_bad_audio true"

# Tokens and heads
token_type=bpe           # word, char or bpe (paper: bpe)
nbpe=5000                # units of bpe (paper: 5000)
heads=accent             # utterance classification heads; each has a utt2<head> (paper: accent)

# Training
train_config=conf/train.yaml        # model and fine-tuning (paper: lr 1e-3, 30 epochs)
train_args=              # more options of espnet_ext.bin.asr_train, e.g. "--max_epoch 1"
pretrain_args=           # options for stage 5, the hybrid of each seed that all others start from
pretrained=              # start from a packed ESPnet2 model instead of stage 5: its archive, or its
                         # name in espnet_model_zoo; its tokens are used (paper: a public model)
pretrained_args=         # more options of espnet_ext.bin.asr_pretrained, e.g. "--allow_pickle true"
init_param=              # or from these weights, with tokens of this recipe
whisper_checkpoint=      # Whisper's weights, such as tiny.en.pt, for the front end whisper_encoder
feats_normalize=utterance_mvn       # utterance_mvn, global_mvn or none
inference_model=valid.loss.best.pth # weights that are decoded and attacked (paper: lowest loss)

# Sweep: lines of lambda_A, lambda_C of training, lambda_C of inference; for a variant of a model also
# its name and more options of espnet_ext.bin.asr_train
sweep=conf/sweep.yaml    # paper: 13 models, 16 conditions

# Attack
attack_config=conf/attack.yaml      # budget, steps (paper: L2, eps 2.0, step 0.05, 500-2000)
attack_args=             # more options of espnet_ext.bin.asr_attack for all conditions: keys of the
                         # YAML that are different this time, e.g. "--set steps=[10,20] snr=[30]"
num_attack_utts=0        # test utterances attacked, from all speakers; 0 for all (paper: ~1000)
target_set=lorem_ipsum   # lorem_ipsum, or a file with one target per line (paper: lorem ipsum)
target_length_unit=word  # word or character: what "closest length" counts
attack_shards=1          # parts of a condition's utterances that are attacked in parallel
transfer_from=           # directory of a finished attack: its audio is heard by all models of the
                         # sweep, instead of attacks of their own

# Report
interval_unit=utterance  # utterance or speaker: what the bootstrap draws
report_config=conf/report.yaml      # which conditions its tables and curves show
report_with=             # lists of conditions of other runs (exp/conditions_*.tsv), before the own

help_message=$(cat << EOF
Usage: ./run.sh [--stage N] [--stop_stage M] [--option value ...]

Stages:
    1  local/data.sh: the corpus                    -> data/
    2  check and format audio                       -> ${dumpdir}/
    3  token list, classes of the heads             -> data/
    4  lengths and feature statistics               -> ${expdir}/stats_*/
    5  train the hybrid model all others start from -> ${expdir}/pretrain_seed*/
    6  train the models of the sweep                -> ${expdir}/la*_lc*_seed*/
    7  transcribe the test set                      -> ${expdir}/*/decode_li*/
    8  choose utterances and targets                -> ${expdir}/targets/
    9  attack                                       -> ${expdir}/*/attack*_li*/
    10 tables, figures, HTML page, cards            -> ${expdir}/report_*/RESULTS.md
    11 checkpoints for espnet2.bin.asr_inference    -> ${expdir}/*/stock/ (with --stop_stage 11)

Options and their defaults:
$(list_options "${BASH_SOURCE[0]}")
EOF
)

. utils/parse_options.sh

# Before the environment is loaded: what needs no Python.
check_common 11 "$@"
check_seeds seeds
check_sets train_set valid_set test_set
check_choice token_type word char bpe
check_heads heads
check_whole 1 nbpe attack_shards
check_whole 0 num_attack_utts
check_options format_args train_args pretrain_args pretrained_args attack_args
check_choice feats_normalize utterance_mvn global_mvn none
check_weights 6
check_choice target_length_unit word character
check_choice interval_unit utterance speaker
check_files sweep train_config attack_config report_config whisper_checkpoint
# Random weights in place of pretrained ones must be asked for.
if { asked 4 || asked 5 || asked 6; } && [ -z "${whisper_checkpoint}" ] &&
    grep -q '^frontend: whisper_encoder' "${train_config}" && [[ ${train_args} != *whisper_model=* ]]; then
    refuse "${train_config} needs --whisper_checkpoint, a file such as tiny.en.pt; for random weights" \
        'give --train_args "--frontend_conf whisper_model=tiny.en"'
fi
if asked 8 && [ "${target_set}" != lorem_ipsum ]; then check_files target_set; fi
if asked 10; then check_files report_with; fi
if [ -n "${init_param}" ] && [ ! -f "${init_param%%:*}" ]; then
    refuse "--init_param: there is no ${init_param%%:*}"
fi
case ${pretrained} in
    # Other words are names in espnet_model_zoo.
    /* | .* | *.zip | *.tar | *.tgz | *.tar.* | *.tbz2 | *.txz)
        if [ ! -e "${pretrained}" ]; then refuse "--pretrained: there is no ${pretrained}"; fi
        ;;
esac
if asked 9 && [ -n "${transfer_from}" ] && [ ! -f "${transfer_from}/attack.json" ]; then
    refuse "--transfer_from: there is no ${transfer_from}/attack.json; give the directory of a" \
        "finished attack, such as exp/la1.0_lc0.5_seed0/attack_li0.5"
fi

. ./path.sh
. ./cmd.sh
check_machines 5 6 9
sweep_lines=$(python3 -m espnet_ext.bin.read_list sweep "${sweep}" --heads "${heads}")

# What this run is made of
token_dir=data/token_list/${token_type}
if [ "${token_type}" = bpe ]; then token_dir=${token_dir}${nbpe}; fi
if [ -n "${pretrained}" ]; then
    token_dir=${expdir}/pretrained
    init_param=${token_dir}/model.pth
fi
stats_dir=${expdir}/stats_${token_dir##*/}
attack_name=$(basename "${attack_config}" .yaml)
if [ -n "${transfer_from}" ]; then
    attack_name=from_$(basename "$(dirname "${transfer_from}")")_$(basename "${transfer_from}")
fi
# Lists, jobs, logs and reports of sweeps other than conf/sweep.yaml have their names, so that two of
# them may run at the same time; a list of conditions for each seed.
sweep_name=$(basename "${sweep}" .yaml)
sweep_name=${sweep_name#sweep}
sweep_name=${sweep_name:+${sweep_name#_}_}
run_name=${sweep_name}seed${seeds// /_}
list_name=${expdir}/conditions_${attack_name}_${sweep_name}seed
conditions=()
for seed in ${seeds}; do conditions+=("${list_name}${seed}.tsv"); done
targets=${expdir}/targets/${test_set}_${num_attack_utts}
report_dir=${expdir}/report_${attack_name}_${run_name}
overlap=${dumpdir}/overlap_${train_set}_${valid_set}_${test_set}.json
one_gpu=$((ngpu > 0 ? 1 : 0))

# Refuse heads that the training and the validation set have no labels for.
check_labels() {
    local set head table
    for set in "${train_set}" "${valid_set}"; do
        for head in ${heads}; do
            table=data/${set}/utt2${head}
            if [ -d "data/${set}" ] && [ ! -f "${table}" ]; then
                refuse "there is no ${table} for the head '${head}'; set heads in run.sh to those" \
                    "that data/${set} has labels of ($(cd "data/${set}" && echo utt2*)), or to none: --heads \"\""
            fi
        done
    done
}

# What later stages would refuse.
check_later_stages() {
    local config="--config ${train_config@Q}" trains=false variant seed
    if asked 2; then check_command_options --format_args format_data "${format_args}"; fi
    if asked 6 || { asked 5 && [ -z "${init_param}" ]; }; then trains=true; fi
    if "${trains}" || asked 4; then
        check_made 3 "${token_dir}/tokens.txt"
        check_command_options "--train_config, --pretrain_args or --train_args" asr_train \
            "${config} ${pretrain_args} ${train_args}"
        while read -r variant; do
            check_command_options "--train_config, --sweep or --train_args" asr_train \
                "${config} ${variant} ${train_args}"
        done < <(cut -f 5 <<< "${sweep_lines}" | sort -u)
    fi
    if "${trains}"; then check_made 4 "${stats_dir}"/{train,valid}/speech_shape; fi
    if asked 6 && [ -z "${init_param}" ]; then
        for seed in ${seeds}; do
            check_made 5 "${expdir}/pretrain_seed${seed}/${inference_model}"
        done
    fi
    if asked 9 && [ -z "${transfer_from}" ]; then
        check_command_options "--attack_config or --attack_args" asr_attack \
            "--config ${attack_config@Q} ${attack_args}"
    fi
    run_checks
}

# Options that statistics and training share; sets ${data_options[@]}.
set_data_options() {
    data_options=(--token_list "${token_dir}/tokens.txt" --token_type "${token_type}")
    if [ "${token_type}" = bpe ]; then
        data_options+=(--bpemodel "${token_dir}/bpe.model")
    fi
    local part dir head
    for part in "train ${train_set}" "valid ${valid_set}"; do
        dir=${dumpdir}/${part#* }
        part=${part% *}
        data_options+=("--${part}_data_path_and_name_and_type" "${dir}/wav.scp,speech,sound")
        data_options+=("--${part}_data_path_and_name_and_type" "${dir}/text,text,text")
        for head in ${heads}; do
            data_options+=("--${part}_data_path_and_name_and_type")
            data_options+=("${dir}/utt2${head},${head},text")
        done
    done
    for head in ${heads}; do
        data_options+=(--model_conf "heads.${head}=data/classes/${head}.txt")
    done
    if [ -n "${whisper_checkpoint}" ]; then
        data_options+=(--frontend_conf "checkpoint=${whisper_checkpoint}")
    fi
}

# Print the command that trains one model: train_command <output directory> <seed> <option ...>;
# more options, as text: ${more_options}
train_command() {
    local dir=$1 seed=$2
    shift 2
    set_data_options
    local options=("${data_options[@]}" --seed "${seed}" --ngpu "${ngpu}" --resume true)
    options+=(--multiprocessing_distributed true --output_dir "${dir}")
    options+=(--train_shape_file "${stats_dir}/train/speech_shape")
    options+=(--valid_shape_file "${stats_dir}/valid/speech_shape")
    local stats=${stats_dir}/train/feats_stats.npz
    if [ -n "${pretrained}" ] && [ -f "${token_dir}/feats_stats.npz" ]; then
        # The weights expect the features of their own training.
        feats_normalize=global_mvn stats=${token_dir}/feats_stats.npz
    fi
    options+=(--normalize "${feats_normalize}")
    if [ "${feats_normalize}" = global_mvn ]; then
        options+=(--normalize_conf "stats_file=${stats}")
    fi
    printf 'python3 -m espnet_ext.bin.asr_train'
    printf ' %q' "${options[@]}" "$@"
    printf ' %s\n' "${more_options:-} ${train_args}"
}

# The models of the sweep, each once: lambda_A, lambda_C, variant or -, its options.
sweep_models() {
    cut -f 1,2,4- <<< "${sweep_lines}" | awk '!seen[$0]++'
}

# Directory of a model: model_dir <lambda_A> <lambda_C> <variant or -> <seed>
model_dir() {
    local variant=${3#-}
    echo "${expdir}/la$1_lc$2${variant:+_${variant}}_seed$4"
}

# A list for each seed, one line a condition: lambda_A, lambda_C of training and of inference,
# directories, variant.
write_conditions() {
    mkdir -p "${expdir}"
    local la lc li variant model seed
    for seed in ${seeds}; do
        while read -r la lc li variant _; do
            model=$(model_dir "${la}" "${lc}" "${variant}" "${seed}")
            printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "${la}" "${lc}" "${li}" "${model}" \
                "${model}/decode_li${li}/${test_set}" "${model}/${attack_name}_li${li}" \
                "${variant#-}"
        done <<< "${sweep_lines}" > "${list_name}${seed}.tsv"
    done
}

check_later_stages

# A function, so that bash has read all of it before the first stage runs: the file may be edited
# while it works.
main() {
    write_conditions

    if stage 1 "local/data.sh: corpus (db.sh) -> data/{${train_set},${valid_set},${test_set}}"; then
        # shellcheck disable=SC2086
        local/data.sh ${local_data_opts}
    fi

    if stage 2 "check and format audio at ${fs} Hz: data/ -> ${dumpdir}/"; then
        check_labels
        format_set "${train_set}" "${min_seconds}" "${max_seconds}"
        format_set "${valid_set}" "${min_seconds}" "${max_seconds}"
        format_set "${test_set}" 0 inf
        check_overlap --train "${dumpdir}/${train_set}" --valid "${dumpdir}/${valid_set}" \
            --test "${dumpdir}/${test_set}"
    fi

    if stage 3 "tokens and classes of heads: ${dumpdir}/ -> ${token_dir}/, data/classes/"; then
        if [ -n "${pretrained}" ]; then
            # Options are words of their own.
            # shellcheck disable=SC2086
            python3 -m espnet_ext.bin.asr_pretrained --pretrained "${pretrained}" \
                --train_config "${train_config}" --token_type "${token_type}" \
                --output_dir "${token_dir}" ${pretrained_args}
        else
            python3 -m espnet_ext.bin.make_tokens --text "${dumpdir}/${train_set}/text" \
                --token_type "${token_type}" --vocab_size "${nbpe}" --output_dir "${token_dir}"
        fi
        for head in ${heads}; do
            python3 -m espnet_ext.bin.make_classes --labels "${dumpdir}/${train_set}/utt2${head}" \
                --check "${dumpdir}/${valid_set}/utt2${head}" --output "data/classes/${head}.txt"
        done
    fi

    if stage 4 "lengths, feature statistics: ${dumpdir}/ -> ${stats_dir}/"; then
        set_data_options
        # Options are words of their own.
        # shellcheck disable=SC2086
        collect_stats espnet_ext.bin.asr_train "${stats_dir}" --config "${train_config}" \
            "${data_options[@]}" ${train_args}
    fi

    if [ -n "${init_param}" ]; then
        log "Stage 5 is left out: all models start from ${init_param}"
    elif stage 5 "train the hybrid that all start from: ${dumpdir}/ -> ${expdir}/pretrain_seed*/"; then
        jobs=${expdir}/pretrain_jobs_${run_name}.sh
        for seed in ${seeds}; do
            # Options are words of their own.
            # shellcheck disable=SC2086
            train_command "${expdir}/pretrain_seed${seed}" "${seed}" --config "${train_config}" \
                --model_conf asr_weight=1.0 ${pretrain_args}
        done > "${jobs}"
        train_list "${jobs}" "${expdir}/log/pretrain_${run_name}"
    fi

    if stage 6 "train: ${sweep}, ${dumpdir}/ -> ${expdir}/la*_lc*_seed*/"; then
        jobs=${expdir}/train_jobs_${run_name}.sh
        for seed in ${seeds}; do
            sweep_models | while read -r la lc variant more_options; do
                model=$(model_dir "${la}" "${lc}" "${variant}" "${seed}")
                train_command "${model}" "${seed}" --config "${train_config}" \
                    --init_param "${init_param:-${expdir}/pretrain_seed${seed}/${inference_model}}" \
                    --ignore_init_mismatch true \
                    --model_conf "asr_weight=${la}" --model_conf "ctc_weight=${lc}"
            done
        done > "${jobs}"
        train_list "${jobs}" "${expdir}/log/train_${run_name}"
    fi

    by_speaker=()
    if [ "${interval_unit}" = speaker ]; then by_speaker=(--by_speaker true); fi

    if stage 7 "transcribe ${dumpdir}/${test_set} -> ${expdir}/la*/decode_li*/${test_set}/"; then
        jobs=${expdir}/decode_jobs_${run_name}.sh
        cat "${conditions[@]}" | while read -r _ _ li model decode _; do
            printf 'python3 -m espnet_ext.bin.asr_inference'
            printf ' %q' --asr_train_config "${model}/config.yaml" \
                --asr_model_file "${model}/${inference_model}" --ctc_weight "${li}" \
                --data_dir "${dumpdir}/${test_set}" --output_dir "${decode}" --ngpu "${one_gpu}" \
                "${by_speaker[@]}"
            printf '\n'
        done > "${jobs}"
        run_list "${decode_cmd}" "${one_gpu}" "${jobs}" "${expdir}/log/decode_${run_name}"
    fi

    if stage 8 "choose targets: ${dumpdir}/${test_set}, ${target_set} -> ${targets}"; then
        mapfile -t configs < <(cut -f 4 "${conditions[@]}" | sort -u | sed 's|$|/config.yaml|')
        python3 -m espnet_ext.bin.make_targets --data_dir "${dumpdir}/${test_set}" \
            --num_utts "${num_attack_utts}" --target_set "${target_set}" \
            --length_unit "${target_length_unit}" --output "${targets}" \
            --asr_train_config "${configs[@]}"
    fi

    if stage 9 "attack, ${transfer_from:-${attack_config}}: ${targets} -> ${expdir}/la*/${attack_name}_li*/"; then
        jobs=${expdir}/${attack_name}_jobs_${run_name}.sh
        speakers=()
        if [ "${interval_unit}" = speaker ]; then
            speakers=(--utt2spk "${dumpdir}/${test_set}/utt2spk")
        fi
        cat "${conditions[@]}" | while read -r _ _ li model _ attack _; do
            if [ -n "${transfer_from}" ]; then
                printf 'python3 -m espnet_ext.bin.asr_transfer'
                printf ' %q' --asr_train_config "${model}/config.yaml" \
                    --asr_model_file "${model}/${inference_model}" --ctc_weight "${li}" \
                    --wav_scp "${dumpdir}/${test_set}/wav.scp" --attack_dir "${transfer_from}" \
                    --output_dir "${attack}" --ngpu "${one_gpu}" "${speakers[@]}"
                printf '\n'
                continue
            fi
            for shard in $(seq "${attack_shards}"); do
                printf 'python3 -m espnet_ext.bin.asr_attack'
                printf ' %q' --asr_train_config "${model}/config.yaml" \
                    --asr_model_file "${model}/${inference_model}" --ctc_weight "${li}" \
                    --wav_scp "${dumpdir}/${test_set}/wav.scp" --targets "${targets}" \
                    --text "${dumpdir}/${test_set}/text" --config "${attack_config}" \
                    --output_dir "${attack}" --shard "${shard}/${attack_shards}" \
                    --ngpu "${one_gpu}" "${speakers[@]}"
                printf ' %s\n' "${attack_args}"
            done
        done > "${jobs}"
        run_list "${decode_cmd}" "${one_gpu}" "${jobs}" "${expdir}/log/${attack_name}_${run_name}"
    fi

    if stage 10 "tables, figure, page, cards: ${expdir}/la*/ -> ${report_dir}/"; then
        # Lists of conditions are words of their own.
        # shellcheck disable=SC2086
        python3 -m espnet_ext.bin.asr_report --conditions ${report_with} "${conditions[@]}" \
            --data_dir "${dumpdir}/${test_set}" --interval_unit "${interval_unit}" \
            --layout "${report_config}" --overlap "${overlap}" --output_dir "${report_dir}"
        # The page has audio of the first and of the last condition.
        mapfile -t shown < <(cut -f 6 "${conditions[0]}" | sed -n '1p;2,${$p}')
        python3 -m espnet_ext.bin.report "${report_dir}" "${shown[@]}" \
            --wav_scp "${dumpdir}/${test_set}/wav.scp" --output "${report_dir}/report.html"
        if [ -z "${transfer_from}" ]; then
            python3 -m espnet_ext.bin.card "${report_dir}" --output_dir "${report_dir}/cards"
        fi
        log "The report: ${PWD}/${report_dir}/RESULTS.md"
    fi

    if stage 11 "models for espnet2.bin.asr_inference: ${expdir}/la*/ -> ${expdir}/la*/stock/"; then
        cut -f 4 "${conditions[@]}" | sort -u | while read -r model; do
            python3 -m espnet_ext.bin.export_stock --asr_train_config "${model}/config.yaml" \
                --asr_model_file "${model}/${inference_model}" --output_dir "${model}/stock"
        done
    fi

    log "Done in ${SECONDS} s"
}

claim 1 2 dumpdir
claim 3 4 expdir "${stats_dir##*/}"
claim 5 8 expdir "train_${run_name}"
claim 9 10 expdir "${attack_name}_${run_name}"
run_main; exit
