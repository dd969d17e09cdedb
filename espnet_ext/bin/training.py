"""The trainings, each a command that ESPnet's trainer runs with a task of this project."""

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espnet2.tasks.abs_task import AbsTask

OPTIONS = """\
  --init_param FILE          start from these weights; prints what was loaded
  --ignore_init_mismatch B   leave out what has no place in the model (default false)
  --resume B                 go on with the training in --output_dir (default false)
  --collect_stats B          collect shapes and feature statistics instead of training
  --allow_pickle B           read checkpoints that are pickles, and what classes of ESPnet fetch
                             by themselves (default false); on the command line only
  --dry_run B                build the model and stop
  --ngpu N                   GPUs, 0 for the CPU
  --help_all                 every option of ESPnet
  --print_config             the whole configuration with its defaults
"""


@dataclass(frozen=True)
class Training:
    """The command of a training.

    Attributes:
        command: its name in `espnet_ext.bin`.
        module: of the task; imported when it is needed, for that takes seconds.
        name: of the class of the task.
        what: sentences of its help, before the options.
        options: options of the task that are used most, one per line.
    """

    command: str
    module: str
    name: str
    what: str
    options: str

    @property
    def help(self) -> str:
        """What `--help` prints."""
        tokens = "--token_list tokens.txt " if "--token_list" in self.options else ""
        return f"""usage: python -m espnet_ext.bin.{self.command} --config CONF.yaml \
--output_dir DIR [option ...]

{self.what} the most used are

  --config FILE              YAML with any of the options below
  --output_dir DIR           checkpoints, logs and config.yaml
{self.options}{OPTIONS}
example: espnet-ext train --config conf/train.yaml --output_dir exp/model {tokens}--dry_run true"""

    @property
    def task(self) -> "type[AbsTask]":
        """The class of the task."""
        found: type[AbsTask] = getattr(importlib.import_module(self.module), self.name)
        return found

    def main(self) -> None:
        """Run the training; without options, print its help."""
        arguments = sys.argv[1:]
        # ESPnet's own help has hundreds of lines and takes seconds; --help_all shows it.
        if not arguments or {"-h", "--help"} & set(arguments):
            print(self.help)
            return
        # ESPnet knows no --help_all; here it stands for the help of its own parser.
        self.task.main(cmd=["--help" if a == "--help_all" else a for a in arguments])


_ALL = (
    Training(
        "asr_train",
        "espnet_ext.tasks.mtl_asr",
        "MTLASRTask",
        """Train a CTC/attention ASR model with utterance classification heads. The options
are those of espnet2.bin.asr_train;""",
        """\
  --token_list FILE          tokens, one per line, <blank> first and <sos/eos> last
  --token_type TYPE          char, word, bpe, ...
  --train_data_path_and_name_and_type FILE,NAME,TYPE
                             wav.scp,speech,sound  text,text,text  utt2accent,accent,text
  --valid_data_path_and_name_and_type FILE,NAME,TYPE
  --model_conf KEY=VALUE     asr_weight (lambda_A), ctc_weight (lambda_C), heads, ...
""",
    ),
    Training(
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
    ),
    Training(
        "ssl_train",
        "espnet_ext.tasks.mockingjay",
        "MockingjayTask",
        """Train a Mockingjay to reconstruct masked frames of speech, with pictures beside the
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
    ),
)
TRAININGS = {training.command: training for training in _ALL}
"""By the name of their commands."""
