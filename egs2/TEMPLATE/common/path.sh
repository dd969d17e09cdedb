# shellcheck shell=bash
# The environment of every recipe. Source it from the recipe's directory.

# The real place of this file, for recipes link to it.
MAIN_ROOT=$(cd -P "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../.." && pwd)
export MAIN_ROOT

if [ -d "${MAIN_ROOT}/tools/venv/bin" ]; then
    PATH=${MAIN_ROOT}/tools/venv/bin:${PATH}
fi
export PATH=${PWD}/utils:${PATH}
# Not where `espnet-ext recipes` wrote the recipes: there the package is installed.
if [ -d "${MAIN_ROOT}/espnet_ext" ]; then
    export PYTHONPATH=${MAIN_ROOT}${PYTHONPATH:+:${PYTHONPATH}}
fi

# Kaldi's tools sort by bytes.
export LC_ALL=C
export PYTHONIOENCODING=UTF-8
# Several jobs share a machine; threads that wait must not use its cores.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export OMP_WAIT_POLICY=PASSIVE
# Large arrays come and go with every batch: keep their memory in place of asking the system for it
# again each time (glibc; nearly half of the time of an LCNN on CPUs).
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296}
export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
# Figures go to files; there may be no screen.
export MPLBACKEND=Agg

# May activate another Python.
if [ -f local/path.sh ]; then
    # shellcheck source=/dev/null
    . local/path.sh
fi

if ! python3 -c '
import sys
from importlib.util import find_spec
needed = "espnet_ext", "espnet2", "torch", "soundfile"
sys.exit(", ".join(m for m in needed if find_spec(m) is None) or 0)
'; then
    echo "path.sh: $(command -v python3) lacks what the recipes need. Install it:" >&2
    if [ -f "${MAIN_ROOT}/tools/Makefile" ]; then
        echo "    make -C ${MAIN_ROOT}/tools venv" >&2
    else
        echo "    activate the environment into which espnet_ext was installed" >&2
    fi
    return 1
fi
