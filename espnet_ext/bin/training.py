"""What the commands of all trainings share."""

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
  --collect_stats B          collect shapes and feature statistics in place of training
  --allow_pickle B           read checkpoints that are pickles, and what classes of ESPnet fetch
                             by themselves (default false); on the command line only
  --dry_run B                build the model and stop
  --ngpu N                   GPUs, 0 for the CPU
  --help_all                 every option of ESPnet
  --print_config             the whole configuration with its defaults
"""


@dataclass(frozen=True)
class Training:
    """The command of a training, which ESPnet's trainer runs with a task of this project.

    Attributes:
        command: its name in `espnet_ext.bin`.
        module: of the task; imported when it is needed, for that takes seconds.
        name: of the class of the task.
        what: sentences of its help, before the options.
        options: of the task that are used most, a line each.
    """

    command: str
    module: str
    name: str
    what: str
    options: str

    @property
    def help(self) -> str:
        """What `--help` prints."""
        return f"""usage: python -m espnet_ext.bin.{self.command} --config CONF.yaml \
--output_dir DIR [option ...]

{self.what} the most used are

  --config FILE              YAML with any of the options below
  --output_dir DIR           checkpoints, logs and config.yaml
{self.options}{OPTIONS}"""

    @property
    def task(self) -> "type[AbsTask]":
        """The class of the task."""
        found: type[AbsTask] = getattr(importlib.import_module(self.module), self.name)
        return found

    def main(self) -> None:
        """Run the training; without options, print its help."""
        arguments = sys.argv[1:]
        if not arguments or {"-h", "--help"} & set(arguments):
            print(self.help)
            return
        self.task.main(cmd=["--help" if a == "--help_all" else a for a in arguments])
