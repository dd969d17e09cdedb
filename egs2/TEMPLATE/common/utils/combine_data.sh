#!/usr/bin/env bash
# [--fill VALUE] <dst> <src1> <src2> ...: merge data directories.
exec python3 -m espnet_ext.bin.data_dir combine "$@"
