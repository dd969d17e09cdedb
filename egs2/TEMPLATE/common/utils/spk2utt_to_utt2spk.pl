#!/usr/bin/env bash
# [spk2utt] > utt2spk
exec python3 -m espnet_ext.bin.data_dir spk2utt_to_utt2spk "$@"
