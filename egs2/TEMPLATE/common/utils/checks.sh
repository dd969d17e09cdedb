# shellcheck shell=bash disable=SC2154
# What the main scripts refuse before the first stage runs and before anything is written. Source it
# after stages.sh. Arguments are names of options, which are names of variables.

refuse() {
    log "error: $*" >&2
    exit 2
}

# Stages that exist, the first not after the last: check_stages <number of stages>
check_stages() {
    local option
    for option in stage stop_stage; do
        if [[ ! ${!option} =~ ^[1-9][0-9]?$ ]] || [ "${!option}" -gt "$1" ]; then
            refuse "--${option} must be a stage, 1 to $1, not '${!option}'; see ./run.sh --help"
        fi
    done
    if [ "${stop_stage}" -lt "${stage}" ]; then
        refuse "--stage ${stage} is after --stop_stage ${stop_stage}; give --stop_stage ${stage}" \
            "or more"
    fi
}

# Whole numbers: check_whole <least> <option ...>
check_whole() {
    local least=$1 option
    shift
    for option in "$@"; do
        # bash takes a leading 0 for octal.
        if [[ ! ${!option} =~ ^(0|[1-9][0-9]{0,8})$ ]] || [ "${!option}" -lt "${least}" ]; then
            refuse "--${option} must be a whole number of at least ${least}, not '${!option}'"
        fi
    done
}

# Whole numbers, at least one and each once: check_seeds <option>
check_seeds() {
    local words word given=${!1}
    read -ra words <<< "${given}"
    if [ ${#words[@]} -eq 0 ]; then
        refuse "--$1 is empty; give one seed or more, e.g. --$1 \"0 1 2\""
    fi
    for word in "${words[@]}"; do
        if [[ ! ${word} =~ ^(0|[1-9][0-9]{0,8})$ ]]; then
            refuse "--$1 must be whole numbers, e.g. \"0 1 2\", not '${given}'"
        fi
    done
    check_distinct "$1" "${words[@]}"
}

# Words of an option, each once: check_distinct <option> <word ...>
check_distinct() {
    local option=$1 twice
    shift
    twice=$(printf '%s\n' "$@" | sort | uniq -d | tr '\n' ' ')
    if [ -n "${twice}" ]; then refuse "--${option} has ${twice% } more than once"; fi
}

# The shortest and the longest utterance in seconds, inf for no limit: --min_seconds, --max_seconds
check_seconds() {
    local option
    for option in min_seconds max_seconds; do
        if [[ ! ${!option} =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)$ && ${option}${!option} != max_secondsinf ]]; then
            refuse "--${option} must be a number of seconds, not '${!option}'"
        fi
    done
    if [ "${max_seconds}" != inf ] && awk "BEGIN { exit !(${min_seconds} >= ${max_seconds}) }"; then
        refuse "--min_seconds ${min_seconds} must be below --max_seconds ${max_seconds}"
    fi
}

# One of some words: check_choice <option> <word ...>
check_choice() {
    local option=$1 word
    shift
    for word in "$@"; do
        if [ "${!option}" = "${word}" ]; then return; fi
    done
    refuse "--${option} must be one of: $*; not '${!option}'"
}

# Classes of words: utterance classification heads, or none: check_heads <option>
check_heads() {
    local words word given=${!1}
    read -ra words <<< "${given}"
    for word in "${words[@]}"; do
        if [[ ! ${word} =~ ^[A-Za-z][A-Za-z0-9_]*$ ]]; then
            refuse "--$1 '${given}': '${word}' is not a name of letters, digits and _; separate" \
                "names by blanks"
        fi
    done
    check_distinct "$1" "${words[@]}"
}

# Directories below data/, no two the same: check_sets <option ...>; --*_sets take several or none.
check_sets() {
    local option words word all=()
    for option in "$@"; do
        read -ra words <<< "${!option}"
        if [[ ${option} != *_sets ]] && [ ${#words[@]} -ne 1 ]; then
            refuse "--${option} must be one directory below data/, not '${!option}'"
        fi
        for word in "${words[@]}"; do
            # ESPnet separates parts of an option by commas; names of files are made of the set.
            if [[ ${word} == [-.]* || ${word} == *[/,\*\?\[]* ]]; then
                refuse "--${option} '${word}': a directory below data/ has a plain name here"
            fi
            for other in "${all[@]}"; do
                if [ "${other#* }" = "${word}" ]; then
                    refuse "--${other% *} and --${option} are both '${word}'; sets must differ"
                fi
            done
            all+=("${option} ${word}")
        done
    done
}

# Where things are written: check_folders <option ...>
check_folders() {
    local option
    for option in "$@"; do
        if [[ -z ${!option} || ${!option} == -* || ${!option} == *[[:space:],]* ]]; then
            refuse "--${option} must be a directory, without blanks and commas, not '${!option}'"
        fi
        if [ -e "${!option}" ] && [ ! -d "${!option}" ]; then
            refuse "--${option} ${!option} is a file; give a directory"
        fi
    done
}

# Weights in the directory of a model; before a training, as ESPnet names them:
# check_weights <last stage that trains>
check_weights() {
    local saved='^(latest|[0-9]+epoch|(train|valid)\.[A-Za-z0-9_]+\.(best|ave|ave_[0-9]+best))\.pth$'
    if [[ -z ${inference_model} || ${inference_model} == *[/[:space:]]* ]] ||
        { [ "${stage}" -le "$1" ] && [[ ! ${inference_model} =~ ${saved} ]]; }; then
        refuse "--inference_model must be a file that training writes, such as" \
            "valid.loss.best.pth or latest.pth, not '${inference_model}'"
    fi
}

# More options for a command, as text: check_options <option ...>
check_options() {
    local option
    for option in "$@"; do
        if [[ -n ${!option// /} && ! ${!option} =~ ^\ *-- ]]; then
            refuse "--${option} must be options such as \"--max_epoch 1\", not '${!option}'"
        fi
        # Job lists have this text in them as it is.
        if ! bash -nc ": ${!option}" 2> /dev/null; then
            refuse "--${option}: the shell cannot read '${!option}'; is a quote missing?"
        fi
    done
}

# The same with Python, as the command of a later stage reads them, once run_checks is called:
# check_command_options <where they come from> <command in espnet_ext.bin> <the options, as text>
check_command_options() {
    local words problem
    # Quotes in the text are the shell's, as in job lists. A variable that is not set ends a shell.
    if ! problem=$(eval "words=($3)" 2>&1); then
        refuse "$1: the shell cannot read the options '$3' (${problem##*: line *: })"
    fi
    eval "words=($3)"
    checks+=(--for "$1" "$2" "${words[@]}")
}

# All checks that need Python, in one process, for its imports take seconds.
checks=()
run_checks() {
    if [ ${#checks[@]} -eq 0 ]; then return; fi
    # ESPnet says on stdout what it lacks.
    python3 -m espnet_ext.bin.check_options "${checks[@]}" > /dev/null || exit 2
}

# Files that must be there: check_files <option ...>; empty options are skipped.
check_files() {
    local option file
    for option in "$@"; do
        for file in ${!option}; do
            if [ ! -f "${file}" ]; then refuse "--${option}: there is no ${file}"; fi
        done
    done
}

# What an earlier stage makes, where that stage is not asked for: check_made <stage> <file ...>
check_made() {
    local maker=$1 file
    shift
    if asked "${maker}"; then return; fi
    for file in "$@"; do
        if [ ! -f "${file}" ]; then
            refuse "--stage ${stage}, but there is no ${file}; stage ${maker} makes it:" \
                "--stage ${maker}, with the same other options"
        fi
    done
}

# Names that must be in a list: check_names <option> <list> <name ...>
check_names() {
    local option=$1 list=$2 words word given=${!1}
    shift 2
    read -ra words <<< "${given}"
    if [ ${#words[@]} -eq 0 ]; then refuse "--${option} is empty; give names of ${list}"; fi
    for word in "${words[@]}"; do
        # No pipe: grep -q ends at the first match, and what then writes to it ends with an error.
        if ! grep -qxF -- "${word}" < <(printf '%s\n' "$@"); then
            refuse "--${option}: '${word}' is not in ${list}, which has: $*"
        fi
    done
    check_distinct "${option}" "${words[@]}"
}

# What the options of all main scripts have in common: check_common <number of stages> <rest ...>
check_common() {
    if [ $# -gt 1 ]; then refuse "what is '$2'? See ./run.sh --help"; fi
    check_stages "$1"
    check_whole 1 nj num_nodes fs
    check_whole 0 ngpu
    check_seconds
    check_folders expdir dumpdir
    if asked 1 && [ ! -x local/data.sh ]; then
        refuse "stage 1 runs local/data.sh, which is not there or not executable (chmod +x)"
    fi
}

# Several machines need a cluster, GPUs here must be there; after cmd.sh:
# check_machines <first stage that trains> <last stage that trains> <last stage that computes>
check_machines() {
    local runner=${cuda_cmd%% *}
    if [ "${runner##*/}" != run.pl ]; then return; fi
    if [ "${num_nodes}" -gt 1 ]; then
        refuse "--num_nodes ${num_nodes}, but cmd.sh runs jobs on this machine; set" \
            "cmd_backend=slurm or sge, or --num_nodes 1"
    fi
    if [ "${ngpu}" -gt 0 ] && [ "${stage}" -le "$3" ] && [ "${stop_stage}" -ge "$1" ]; then
        # What does not train takes one.
        checks+=(--ngpu "$((stage <= $2 ? ngpu : 1))")
    fi
}
