#!/usr/bin/env bash
# [--exclude] [-f FIELD] <ids> [scp] > out: keep the lines whose key is in <ids>.
exec python3 -m espnet_ext.bin.data_dir filter_scp "$@"
