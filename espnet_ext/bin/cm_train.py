"""Train a countermeasure, or collect statistics for it."""

import sys

from espnet_ext.bin import cli

HELP = """usage: python -m espnet_ext.bin.cm_train --config CONF.yaml --output_dir DIR [option ...]

Train a spoofing countermeasure. The options are those of any ESPnet task; the most used are

  --config FILE              YAML with any of the options below
  --output_dir DIR           checkpoints, logs and config.yaml
  --train_data_path_and_name_and_type FILE,NAME,TYPE
                             wav.scp,speech,sound  utt2label,label,text
  --valid_data_path_and_name_and_type FILE,NAME,TYPE
  --valid_shape_file FILE    wav.scp, or the shapes that --collect_stats has found
  --frontend NAME            mel, spectrogram, lfcc, ...; --frontend_conf KEY=VALUE
  --normalize NAME           utterance, global, fixed, none; --normalize_conf KEY=VALUE
  --defense NAME             filter, mockingjay, none; --defense_conf KEY=VALUE
  --encoder NAME             lcnn, senet; --encoder_conf KEY=VALUE
  --cm_loss NAME             cross_entropy, asoftmax, amsoftmax, ocsoftmax; --cm_loss_conf
  --segment_conf KEY=VALUE   num_frames (null for whole utterances), eval_segments, ...
  --seed N                   of initialisation, batches and crops
  --init_param FILE          start from these weights; prints what was loaded
  --collect_stats B          collect shapes and feature statistics in place of training
  --dry_run B                build the model and stop
  --ngpu N                   GPUs, 0 for the CPU
  --help_all                 every option of ESPnet
  --print_config             the whole configuration with its defaults
"""


def main() -> None:
    """Run ESPnet's training with this project's task."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return
    from espnet_ext.tasks.countermeasure import CountermeasureTask

    CountermeasureTask.main(cmd=["--help" if a == "--help_all" else a for a in arguments])


if __name__ == "__main__":
    cli.run(main)
