"""Train a countermeasure, or collect statistics for it."""

from espnet_ext.bin import cli
from espnet_ext.bin.training import Training

training = Training(
    "cm_train",
    "espnet_ext.tasks.countermeasure",
    "CountermeasureTask",
    "Train a spoofing countermeasure. The options are those of any ESPnet task;",
    """\
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
""",
)
main = training.main

if __name__ == "__main__":
    cli.run(main)
