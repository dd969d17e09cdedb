#!/usr/bin/env bash
# Countermeasures, attacks and defences on the layout of ASVspoof 2019 logical access.
#     ./run.sh --asvspoof2019_la /path/to/LA                all stages, one seed
#     ./run.sh --stage 5 --seeds "0 1 2"                    three seeds, as the tables need
#     ./run.sh --stage 8 --attack_config conf/attack_adaptive.yaml --attack_targets self ...
#         --attack_sources "lcnn_mock senet_mock"           the attacker who knows the defence
# More lists of models and attacks: README.md
set -euo pipefail

# The corpus may be an option in place of ASVSPOOF2019_LA in db.sh.
arguments=()
while [ $# -gt 0 ]; do
    if [ "$1" = --asvspoof2019_la ] && [ $# -ge 2 ]; then
        ASVSPOOF2019_LA=$2
        export ASVSPOOF2019_LA
        shift 2
    else
        arguments+=("$1")
        shift
    fi
done

exec ./cm.sh "${arguments[@]+"${arguments[@]}"}"
