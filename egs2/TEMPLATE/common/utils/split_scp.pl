#!/usr/bin/env bash
# <scp> <out1> <out2> ...: split a list into parts of equal length.
exec python3 -m espnet_ext.bin.data_dir split_scp "$@"
