"""Train a countermeasure, or collect statistics for it."""

from espnet_ext.bin import cli, training

TASK = ("espnet_ext.tasks.countermeasure", "CountermeasureTask")
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
  --encoder NAME             lcnn, senet, xvector; --encoder_conf KEY=VALUE
  --cm_loss NAME             cross_entropy, asoftmax, amsoftmax, ocsoftmax; --cm_loss_conf
  --segment_conf KEY=VALUE   num_frames (null for whole utterances), eval_segments, ...
  --feature_cache_mb N       memory for features of utterances that were seen before
  --seed N                   of initialisation, batches and crops
"""


def main() -> None:
    """Run ESPnet's training with this project's task."""
    training.train(HELP, *TASK)


if __name__ == "__main__":
    cli.run(main)
