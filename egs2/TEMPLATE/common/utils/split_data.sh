#!/usr/bin/env bash
# [--per-utt] <dir> N: write <dir>/splitN/1 ... N (splitNutt with --per-utt).
exec python3 -m espnet_ext.bin.data_dir split "$@"
