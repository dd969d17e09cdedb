#!/usr/bin/env bash
# [utt2spk] > spk2utt
exec python3 -m espnet_ext.bin.data_dir utt2spk_to_spk2utt "$@"
