"""Pretrain a Mockingjay, or collect statistics for it."""

from espnet_ext.bin import cli
from espnet_ext.bin.training import Training

training = Training(
    "ssl_train",
    "espnet_ext.tasks.mockingjay",
    "MockingjayTask",
    """Train a Mockingjay to reconstruct masked frames of speech, with pictures of that beside the
checkpoints. The options are those of ESPnet's training commands;""",
    """\
  --train_data_path_and_name_and_type FILE,NAME,TYPE
                             wav.scp,speech,sound
  --valid_data_path_and_name_and_type FILE,NAME,TYPE
  --frontend_conf KEY=VALUE  features, see espnet_ext.frontend.mel
  --normalize_conf KEY=VALUE mean, variance
  --target NAME              null: the features; linear: the linear spectrogram
  --encoder_conf KEY=VALUE   num_layers, hidden_size, downsample (R_factor), ...
  --model_conf KEY=VALUE     masking.fraction, masking.consecutive (C_num in steps), loss_on, ...
  --crop_seconds S           train on random parts of this length of longer utterances
  --num_att_plot N           reconstructions to draw after each epoch (default 3)
""",
)
main = training.main

if __name__ == "__main__":
    cli.run(main)
