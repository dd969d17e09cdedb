#!/usr/bin/env bash
# --utt-list F <src> <dst> | [--first] <src> N <dst>: take some utterances.
exec python3 -m espnet_ext.bin.data_dir subset "$@"
