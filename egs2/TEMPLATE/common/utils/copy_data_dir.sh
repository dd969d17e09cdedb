#!/usr/bin/env bash
# [--utt-prefix P] [--utt-suffix S] [--spk-prefix P] [--spk-suffix S] <src> <dst>: copy all files.
exec python3 -m espnet_ext.bin.data_dir copy "$@"
