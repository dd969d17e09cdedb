#!/usr/bin/env bash
# Make a recipe directory: links to what all recipes share, and a run.sh, conf/ and local/ of its own
# to begin with. Can be run again: what is there of its own stays as it is.
set -euo pipefail

if [ $# -ne 1 ] || [[ $1 = -* ]]; then
    echo "Usage: $0 egs2/<corpus>/<task>    (task: ssl1, cm1, mtl_asr1, sv1, attack1)" >&2
    exit 1
fi
dir=$1
common=$(cd -P "$(dirname "$0")" && pwd)
task=$(basename "${dir}")
# The main script of mtl_asr1 is mtl_asr.sh.
main=$(dirname "${common}")/${task}/${task%%[0-9]*}.sh

if [ ! -e "${main}" ]; then
    echo "$0: '${task}' is not a task, for there is no ${main}; the last part of the path must be" \
        "ssl1, cm1, mtl_asr1, sv1 or attack1" >&2
    exit 1
fi
targets=("${common}/cmd.sh" "${common}/path.sh" "${common}/db.sh" "${common}/utils" "${main}")

in_the_way=()
for target in "${targets[@]}"; do
    link=${dir}/$(basename "${target}")
    if [ -e "${link}" ] && [ ! -L "${link}" ]; then
        in_the_way+=("${link}")
    fi
done
if [ ${#in_the_way[@]} -gt 0 ]; then
    echo "$0: would overwrite ${in_the_way[*]}; move that away first" >&2
    exit 1
fi

mkdir -p "${dir}/conf" "${dir}/local"
for target in "${targets[@]}"; do
    relative=$(python3 -c \
        'import os, sys; print(os.path.relpath(*map(os.path.realpath, sys.argv[1:])))' \
        "${target}" "${dir}")
    ln -sfn "${relative}" "${dir}/$(basename "${target}")"
done

# With the content of links: the files are the recipe's own from now on.
starter=$(dirname "${main}")/starter
if [ -d "${starter}" ]; then
    (cd "${starter}" && find . \( -type f -o -type l \) -print) | while read -r file; do
        if [ ! -e "${dir}/${file}" ]; then
            mkdir -p "$(dirname "${dir}/${file}")"
            cp -L "${starter}/${file}" "${dir}/${file}"
        fi
    done
fi
