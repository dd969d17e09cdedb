#!/usr/bin/env bash
# [--no-text] [--no-wav] [--no-feats] <dir>: check a data directory.
exec python3 -m espnet_ext.bin.data_dir validate "$@"
