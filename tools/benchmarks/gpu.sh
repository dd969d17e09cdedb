#!/usr/bin/env bash
# What only a GPU can show, in one go: the tests marked gpu, the ratios of the benchmarks, and hours of
# the papers' full trainings and sweeps. Run it from anywhere; --device cpu tries it without a GPU.
set -euo pipefail

device=cuda          # cuda or cpu
parts="tests ratios hours"  # which of them
repeats=7            # repetitions of each benchmark
most=256             # largest batch of batch_size.py; hours are measured with up to a quarter of it
s3prl=               # model.py of s3prl's upstream/mockingjay, to compare with
output=gpu_results   # folder of the logs

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
help_message=$(sed -n '2,/^$/p; /^device=/,/^$/p' "${BASH_SOURCE[0]}")
# shellcheck source=egs2/TEMPLATE/common/utils/parse_options.sh disable=SC1091
. "${top}/egs2/TEMPLATE/common/utils/parse_options.sh"

mkdir -p "${output}"
output=$(cd "${output}" && pwd)
cd "${top}"
if [ -d tools/venv/bin ]; then export PATH=${top}/tools/venv/bin:${PATH}; fi
export PYTHONPATH=${top}${PYTHONPATH:+:${PYTHONPATH}}
ngpu=0
if [ "${device}" = cuda ]; then ngpu=1; fi
failed=

# Run a command into <name>.log and the terminal; one that fails does not stop the others.
record() {
    local name=$1 began=${SECONDS}
    shift
    echo "== ${name}: $*"
    if ! "$@" > "${output}/${name}.log" 2>&1; then
        failed+=" ${name}"
        tail -n 20 "${output}/${name}.log"
    elif [ "${name}" = tests ]; then
        tail -n 3 "${output}/${name}.log"
    else
        grep -v -i warning "${output}/${name}.log" || true
    fi
    echo "   $((SECONDS - began)) s"
}

benchmark() {
    record "$1" python3 "tools/benchmarks/$1.py" --device "${device}" --repeats "${repeats}" "${@:2}"
}

# Hours of a configuration: plan <name> <recipe> <option ...>
plan() {
    local name=$1 conf=egs2/$2/conf
    shift 2
    record "${name}" python3 tools/plan.py --ngpu "${ngpu}" \
        --most "$((most / 4 > 2 ? most / 4 : 2))" "${@//conf\//${conf}/}"
}

record machine python3 -m espnet_ext.bin.check
if [[ ${parts} = *tests* ]]; then
    record tests python3 -m pytest -m gpu --device "${device}" -q -o addopts= \
        --strict-markers --import-mode=importlib --durations=10 -o junit_family=xunit1 \
        --junitxml "${output}/tests.xml" tests/gpu tests/metrics/test_lnsr.py
    # What the tests measured: how far CPU and GPU are apart.
    sed -n 's/></>\n</g; p' "${output}/tests.xml" |
        sed -n 's/.*<testcase.* name="\([^"]*\)".*/\1/p; s/.*<property name="\([^"]*\)" value="\([^"]*\)".*/    \1: \2/p' |
        grep -B 1 '^    ' | grep -v '^--' || true
fi
if [[ ${parts} = *ratios* ]]; then
    benchmark agreement
    benchmark attack_step
    benchmark batch_size --most "${most}"
    benchmark ragged_batch
    benchmark snapshots
    benchmark memory
    benchmark countermeasure_step
    benchmark ctc_entropy
    if [ -n "${s3prl}" ]; then benchmark mockingjay --s3prl "${s3prl}"; else benchmark mockingjay; fi
fi
if [[ ${parts} = *hours* ]]; then
    plan hours_commonvoice commonvoice/mtl_asr1 --train_config conf/train.yaml \
        --attack_config conf/attack.yaml --sweep conf/sweep.yaml \
        --train_utts 260000 --test_utts 1000 --seconds 5
    plan hours_lcnn asvspoof2019/cm1 --train_config conf/train_lcnn_paper.yaml \
        --train_utts 45600 --seconds 3.4
    plan hours_senet asvspoof2019/cm1 --train_config conf/train_senet_paper.yaml \
        --train_utts 45600 --seconds 3.4
    plan hours_mockingjay librispeech/ssl1 --train_config conf/train_large.yaml --seconds 12.6
fi
if [ -n "${failed}" ]; then
    echo "failed:${failed}; see ${output}" >&2
    exit 1
fi
echo "all done; logs: ${output}"
