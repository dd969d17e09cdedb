#!/usr/bin/env bash
# [options] <table> <data>: make <data>/train, dev and test from a CSV or TSV table; see --help.
exec python3 -m espnet_ext.bin.data_from_table "$@"
