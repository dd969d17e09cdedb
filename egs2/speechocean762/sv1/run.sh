#!/usr/bin/env bash
# Resemblyzer on the test speakers of speechocean762: impostors accepted at 40 and 30 dB SNR.
#     SPEECHOCEAN762=/path/to/speechocean762 ./run.sh
#     ./run.sh --stage 3 --attack_config conf/attack_reject.yaml     targets rejected
set -euo pipefail

exec ./sv.sh "$@"
