#!/usr/bin/env bash
# <dir>: sort, squeeze blanks, keep what all files have; old files go to <dir>/.backup.
exec python3 -m espnet_ext.bin.data_dir fix "$@"
