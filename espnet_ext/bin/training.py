"""What the commands of all trainings share."""

import importlib
import sys

TRAINING_OPTIONS = """\
  --init_param FILE          start from these weights; prints what was loaded
  --ignore_init_mismatch B   leave out what has no place in the model (default false)
  --resume B                 go on with the training in --output_dir (default false)
  --collect_stats B          collect shapes and feature statistics in place of training
  --allow_pickle B           read checkpoints that are pickles, and what classes of ESPnet fetch
                             by themselves (default false); on the command line only
  --dry_run B                build the model and stop
  --ngpu N                   GPUs, 0 for the CPU
  --help_all                 every option of ESPnet
  --print_config             the whole configuration with its defaults
"""


def train(text: str, module: str, task: str) -> None:
    """Run ESPnet's training with a task of this project; without options, print its help.

    Args:
        text: the help, which `TRAINING_OPTIONS` ends.
        module: of the task; imported when it is needed, for that takes seconds.
        task: name of the class.
    """
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(text + TRAINING_OPTIONS)
        return
    task_class = getattr(importlib.import_module(module), task)
    task_class.main(cmd=["--help" if a == "--help_all" else a for a in arguments])
