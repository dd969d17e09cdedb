#!/usr/bin/env bash
# What only a GPU can show, in one go: the tests marked gpu, the ratios of the benchmarks, and hours of
# the papers' full trainings and sweeps. Run it from anywhere; --device cpu tries it without a GPU.
set -euo pipefail

device=cuda          # cuda or cpu
parts="tests ratios hours"  # which of them
tests="tests/gpu tests/promises tests/metrics/test_lnsr.py"  # files with tests marked gpu
test_jobs=4          # processes that test at once, with pytest-xdist
repeats=7            # repetitions of each benchmark
most=256             # largest batch of batch_size.py; trainings are measured with up to a quarter of it
s3prl=               # model.py of s3prl's upstream/mockingjay, to compare with
model_dir=           # a trained recognizer with config.yaml, valid.loss.best.pth, wav.scp and targets:
                     # success of bfloat16 is measured on it
seconds=900          # longest time of a part; the next one begins then
commit=              # of this code, where git does not say it
output=gpu_results   # the results go into a folder of it that is named after the card

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
help_message=$(sed -n '2,/^$/p; /^device=/,/^$/p' "${BASH_SOURCE[0]}")
# shellcheck source=egs2/TEMPLATE/common/utils/parse_options.sh disable=SC1091
. "${top}/egs2/TEMPLATE/common/utils/parse_options.sh"

if [ -n "${model_dir}" ]; then model_dir=$(cd "${model_dir}" && pwd); fi
mkdir -p "${output}"
output=$(cd "${output}" && pwd)
cd "${top}"
if [ -d tools/venv/bin ]; then export PATH=${top}/tools/venv/bin:${PATH}; fi
export PYTHONPATH=${top}${PYTHONPATH:+:${PYTHONPATH}}
ngpu=0
if [ "${device}" = cuda ]; then ngpu=1; fi
card=$(python3 tools/benchmarks/collect.py --device "${device}" --name)
output=${output}/${card}
logs=${output}/logs
rm -rf "${logs}"
mkdir -p "${logs}"
failed=

# Run a command into <name>.log and the terminal; one that fails, or takes too long, does not stop the
# others.
record() {
    local name=$1 began=${SECONDS} status=0
    shift
    echo "== ${name}: $*"
    timeout --kill-after 10 "${seconds}" "$@" > "${logs}/${name}.log" 2>&1 || status=$?
    if [ "${status}" -ne 0 ]; then
        failed+=" ${name}"
        if [ "${status}" -eq 124 ]; then echo "   stopped after ${seconds} s"; fi
        tail -n 20 "${logs}/${name}.log"
    elif [ "${name}" = tests ]; then
        tail -n 3 "${logs}/${name}.log"
    else
        grep -v -i warning "${logs}/${name}.log" || true
    fi
    echo "   $((SECONDS - began)) s"
    printf '%s\t%s\t%s\n' "${name}" "${status}" "$((SECONDS - began))" >> "${logs}/parts.tsv"
}

benchmark() {
    record "$1" python3 "tools/benchmarks/$1.py" --device "${device}" --repeats "${repeats}" \
        --records "${logs}/$1.jsonl" "${@:2}"
}

# Hours of a configuration: plan <name> <recipe> <option ...>
plan() {
    local name=$1 conf=egs2/$2/conf
    shift 2
    record "${name}" python3 tools/plan.py --ngpu "${ngpu}" --output "${logs}/${name}.json" \
        --most "$((most / 4 > 2 ? most / 4 : 2))" --attack_batch "$((most / 2))" \
        "${@//conf\//${conf}/}"
}

record machine python3 -m espnet_ext.bin.check
if [[ ${parts} = *tests* ]]; then
    jobs=()
    if python3 -c "import xdist" 2> /dev/null; then jobs=(-n "${test_jobs}" --dist loadfile); fi
    # shellcheck disable=SC2086
    record tests env OMP_NUM_THREADS=1 python3 -m pytest -m gpu --device "${device}" -q -o addopts= "${jobs[@]}" \
        --strict-markers --import-mode=importlib --durations=10 -o junit_family=xunit1 \
        --junitxml "${logs}/tests.xml" ${tests}
fi
if [[ ${parts} = *ratios* ]]; then
    benchmark attack_step
    benchmark countermeasure_step
    benchmark batch_size --most "${most}"
    benchmark ragged_batch
    benchmark agreement
    benchmark snapshots
    benchmark memory
    benchmark ctc_entropy
    if [ -n "${s3prl}" ]; then benchmark mockingjay --s3prl "${s3prl}"; else benchmark mockingjay; fi
    if [ -n "${model_dir}" ]; then
        benchmark precision --model_dir "${model_dir}" --wav_scp "${model_dir}/wav.scp" \
            --targets "${model_dir}/targets"
    fi
fi
if [[ ${parts} = *hours* ]]; then
    # Das and Chau (2022), Tables 1 to 3; Wu et al. (2020), Figure 2.
    plan hours_commonvoice commonvoice/mtl_asr1 --train_config conf/train.yaml \
        --attack_config conf/attack.yaml --sweep conf/sweep.yaml \
        --train_utts 260000 --test_utts 1000 --seconds 5
    plan hours_lcnn asvspoof2019/cm1 --train_config conf/train_lcnn_paper.yaml \
        --attack_config conf/attack.yaml --train_utts 45600 --test_utts 71237 --seconds 3.4
    plan hours_senet asvspoof2019/cm1 --train_config conf/train_senet_paper.yaml \
        --attack_config conf/attack.yaml --train_utts 45600 --test_utts 71237 --seconds 3.4
    plan hours_mockingjay librispeech/ssl1 --train_config conf/train_large.yaml --seconds 12.6
fi
python3 tools/benchmarks/collect.py --device "${device}" --logs "${logs}" --output "${output}" \
    --commit "${commit}"
if [ -n "${failed}" ]; then
    echo "failed:${failed}; see ${logs}" >&2
    exit 1
fi
echo "all done: ${output}/README.md"
