# shellcheck shell=bash disable=SC2154
# What the main scripts of all recipes share. Source it from the recipe's directory; the script
# has set stage, stop_stage, nj, ngpu, num_nodes, train_set, valid_set, dumpdir and format_args when it
# calls these functions.

SECONDS=0

# Commands advise options; below this script they advise those that it takes: espnet_ext/bin/advice.py.
ESPNET_EXT_RUN_SH=$(readlink -f "$0")
export ESPNET_EXT_RUN_SH

log() {
    echo -e "$(date '+%Y-%m-%dT%H:%M:%S') (${0##*/}) $*"
}

# Whether a stage is asked for: asked <number>
asked() {
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ]
}

# The same; tells what it does: stage <number> <what it reads -> what it writes>
stage() {
    asked "$1" || return
    # Runners name it in their progress lines.
    export RECIPE_STAGE="stage $1"
    release_claims "$1"
    log "Stage $1: $2"
}

# Claims of this run: read or write, file descriptor, stages, option, lock file.
claims=()

# Lock what stages <first> to <last> write below a directory: no other run.sh may then write it, and
# none read it before these stages are over. A run of later stages only reads it, as others may at the
# same time. egs2/running.md tells users. claim <first> <last> <expdir or dumpdir> [<name>]
claim() {
    # Not the name by which a command locks a directory that it writes: espnet_ext/data/locks.py.
    local mode=read handle file=${!3}/.${4:+$4.}run.lock
    if [ "${stop_stage}" -lt "$1" ]; then return; fi
    if [ "${stage}" -le "$2" ]; then mode="write"; fi
    mkdir -p "${!3}"
    # It stays open in commands that are started, so that the lock lasts until they have ended.
    if ! { exec {handle}<> "${file}" || exec {handle}< "${file}"; } 2> /dev/null; then
        # Of somebody else, who has not run this there.
        if [ "${mode}" = read ]; then return; fi
        refuse "cannot write ${file}"
    fi
    claims+=("${mode}:${handle}:$1-$2:$3:${file}")
}

# What earlier stages write is now only read: release_claims <stage>
release_claims() {
    local i claim last over=()
    for i in "${!claims[@]}"; do
        claim=${claims[i]}
        last=${claim#write:*:*-}
        if [[ ${claim} == write:* ]] && [ "${last%%:*}" -lt "$1" ]; then
            claims[i]=read${claim#write}
            over+=("${claims[i]}")
        fi
    done
    if [ ${#over[@]} -gt 0 ]; then
        python3 -m espnet_ext.bin.claim --process "$$" --wait "${over[@]}"
    fi
}

# End all that the process group of main runs when this script is gone, as after kill -9.
watch_parent() {
    local claim handle state group=$1
    for claim in "${claims[@]}"; do
        # A sleep that is left over for a second must not have a lock.
        handle=${claim#*:}
        handle=${handle%%:*}
        exec {handle}>&-
    done
    while kill -0 "$$"; do
        # On Linux also: dead, though nobody has asked for its exit code.
        if read -r state < "/proc/$$/stat" && [[ ${state##*) } == Z* ]]; then break; fi
        sleep 1
    done
    kill -TERM -- "-${group}"
}

# Run the function main and end. It has a process group of its own, so that Ctrl-C, or a kill of this
# script alone, stops all that it has started; then one line says how to go on.
run_main() {
    local number pid code stopped=''
    if [ ${#claims[@]} -gt 0 ]; then
        python3 -m espnet_ext.bin.claim --process "$$" "${claims[@]}" || exit
    fi
    set -m
    (
        set +m
        group=${BASHPID}
        watch_parent "${group}" > /dev/null 2>&1 &
        # shellcheck disable=SC2064
        trap "say_how_to_go_on \$?; kill $! 2> /dev/null || true" EXIT
        trap 'exit 143' TERM
        main
    ) < /dev/null &
    pid=$!
    set +m
    for number in 1 2 15; do
        # All get SIGTERM: Python that is interrupted while it starts prints a traceback.
        # shellcheck disable=SC2064
        trap "stopped=$((128 + number)); kill -TERM -- -${pid} 2> /dev/null || true" "${number}"
    done
    # A signal ends wait, not main.
    while wait "${pid}"; code=$?; kill -0 "${pid}" 2> /dev/null; do :; done
    exit "${stopped:-${code}}"
}

# The last line after a signal or an error: say_how_to_go_on <exit code>
say_how_to_go_on() {
    if [ "$1" -eq 0 ] || [ -z "${RECIPE_STAGE:-}" ]; then return; fi
    local advice="go on with ./run.sh --${RECIPE_STAGE} and the same other options"
    if [ "$1" -ge 128 ]; then
        log "Stopped in ${RECIPE_STAGE}. What is finished is kept; ${advice}" >&2
    else
        log "Failed in ${RECIPE_STAGE}, see above. What is finished is kept; then ${advice}" >&2
    fi
}

# The options of a main script with their defaults, for its help: list_options <script>
list_options() {
    sed -n '/^# General/,/^help_message/{/^help_message/d;p}' "$1"
}

# Check the audio of data/<set> and format it: format_set <set> <least seconds> <most seconds>
format_set() {
    # Options are words of their own.
    # shellcheck disable=SC2086
    python3 -m espnet_ext.bin.format_data --source "data/$1" --destination "${dumpdir}/$1" \
        --sample_rate "${fs}" --resample true --min_seconds "$2" --max_seconds "$3" ${format_args}
}

# Say what the sets have in common and keep it for the report; audio that is trained on and tested on
# stops the run unless ${allow_shared_audio}: check_overlap <--train|--valid|--test> <directory> ...
check_overlap() {
    log "What the sets have in common:"
    python3 -m espnet_ext.bin.data_dir overlap --output "${overlap}" \
        --allow_shared_audio "${allow_shared_audio}" "$@"
}

# Run every line of a file as a job: run_list <command> <gpus> <file> <log directory>
run_list() {
    local jobs
    jobs=$(wc -l < "$3")
    # ${1} is a command with its options.
    # shellcheck disable=SC2086
    ${1} --gpu "$2" --max-jobs-run "${nj}" JOB=1:"${jobs}" "$4/JOB.log" \
        utils/run_line.sh "$3" JOB
}

# Run every line of a file, each of them a training: train_list <file> <log directory>
# On several GPUs or nodes each is submitted by ESPnet's launch, nj of them at a time.
train_list() {
    if [ "${ngpu}" -le 1 ] && [ "${num_nodes}" -le 1 ]; then
        run_list "${cuda_cmd}" "${ngpu}" "$1" "$2"
        return
    fi
    local runner=${cuda_cmd%% *} gpus=0 number=0 line
    if [ "${runner##*/}" = run.pl ]; then
        # Trainings at the same time must not share GPUs.
        gpus=${ngpu}
    fi
    while IFS= read -r line; do
        number=$((number + 1))
        printf 'python3 -m espnet2.bin.launch'
        printf ' %q' --cmd "${cuda_cmd}" --log "$2/${number}.log" --ngpu "${ngpu}" \
            --num_nodes "${num_nodes}" --init_file_prefix "$2/init_${number}_" --
        printf ' %s\n' "${line}"
    done < "$1" > "$1.launch"
    run_list run.pl "${gpus}" "$1.launch" "$2/launch"
}

# Lengths of utterances and statistics of features, in up to nj jobs:
# collect_stats <training module> <directory> <option of the module ...>
collect_stats() {
    local module=$1 dir=$2 split_dir=$2/split parts=${nj} set lines part
    shift 2
    for set in "${train_set}" "${valid_set}"; do
        if [ ! -f "${dumpdir}/${set}/wav.scp" ]; then
            log "error: there is no ${dumpdir}/${set}/wav.scp; stage 2 makes it (--stage 1)" >&2
            exit 2
        fi
        lines=$(wc -l < "${dumpdir}/${set}/wav.scp")
        parts=$((lines < parts ? lines : parts))
    done
    mkdir -p "${split_dir}"
    local scps inputs=()
    for set in "${train_set}" "${valid_set}"; do
        scps=()
        for part in $(seq "${parts}"); do scps+=("${split_dir}/${set}.${part}.scp"); done
        utils/split_scp.pl "${dumpdir}/${set}/wav.scp" "${scps[@]}"
    done
    # shellcheck disable=SC2086
    ${train_cmd} JOB=1:"${parts}" "${split_dir}/stats.JOB.log" \
        python3 -m "${module}" --collect_stats true "$@" \
        --train_shape_file "${split_dir}/${train_set}.JOB.scp" \
        --valid_shape_file "${split_dir}/${valid_set}.JOB.scp" \
        --output_dir "${split_dir}/stats.JOB"
    for part in $(seq "${parts}"); do inputs+=(--input_dir "${split_dir}/stats.${part}"); done
    run.pl "${split_dir}/aggregate.log" \
        python3 -m espnet2.bin.aggregate_stats_dirs "${inputs[@]}" --output_dir "${dir}"
}

# Pretrain a Mockingjay: pretrain <configuration> <statistics> <seed> <directory> <option ...>
pretrain() {
    local config=$1 stats=$2 seed=$3 dir=$4
    shift 4
    mkdir -p "${dir}"
    {
        printf 'python3 -m espnet_ext.bin.ssl_train'
        printf ' %q' --config "${config}" --train_shape_file "${stats}/train/speech_shape" \
            --valid_shape_file "${stats}/valid/speech_shape" --seed "${seed}" --ngpu "${ngpu}" \
            --multiprocessing_distributed true --resume true --output_dir "${dir}" "$@"
        printf '\n'
    } > "${dir}/jobs.sh"
    train_list "${dir}/jobs.sh" "${dir}/log"
}
