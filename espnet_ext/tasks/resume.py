"""An experiment directory belongs to one configuration."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import yaml
from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

from espnet_ext.data.files import read_yaml, write_aside
from espnet_ext.errors import InputError, summarize

# How a training is run and what is kept of it, but not what is trained.
RUN_OPTIONS = {
    "config",
    "dry_run",
    "output_dir",
    "log_level",
    "ngpu",
    "num_workers",
    "num_att_plot",
    "log_interval",
    "max_epoch",
    "patience",
    "resume",
    "allow_pickle",
    "use_tensorboard",
    "use_matplotlib",
    "create_graph_in_tensorboard",
    "keep_nbest_models",
    "nbest_averaging_interval",
    "best_model_criterion",
    "early_stopping_criterion",
    "print_config",
    "required",
    "valid_batch_size",
    "valid_batch_bins",
    "num_cache_chunks",
    "feature_cache_mb",
    "write_collected_feats",
    "multiprocessing_distributed",
    "distributed",
    "version",
}
RUN_PREFIXES = ("dist_", "wandb_", "use_wandb", "cudnn_", "local_rank")


def check_same_configuration(args: argparse.Namespace) -> None:
    """Refuse to go on with a training that was started with other settings.

    ESPnet would load the optimiser of the old settings, ignore the new ones and
    write them into `config.yaml` all the same.

    Args:
        args: the arguments of the training, with files replaced by their contents.

    Raises:
        InputError: names the settings that differ, or config.yaml is not there or damaged.
    """
    # Without a state ESPnet begins anew, and its settings may be any.
    if not args.resume or not Path(args.output_dir, "checkpoint.pth").is_file():
        return
    output_dir = Path(args.output_dir)
    try:
        before = read_yaml(output_dir / "config.yaml")
    except InputError as error:
        raise InputError(
            f"{error}\nIt says with which settings {output_dir}/checkpoint.pth was trained. If "
            "these are the same, have it written again with --resume false --dry_run true, then "
            "run the same command without the two; else give another --output_dir."
        ) from error
    # Written and read again, for the file has lists where the arguments have tuples.
    now = yaml.safe_load(yaml_no_alias_safe_dump(vars(args)))
    changes = [
        f"  {key}: {_describe(before.get(key))} -> {_describe(now.get(key))}"
        for key in sorted({*before, *now} - RUN_OPTIONS)
        if not key.startswith(RUN_PREFIXES) and before.get(key) != now.get(key)
    ]
    if changes:
        raise InputError(
            f"{output_dir} holds a training with another configuration:\n{summarize(changes)}\n"
            "Give another --output_dir, or remove this one."
        )


def _describe(value: object, limit: int = 60) -> str:
    """A value in at most `limit` characters, for messages."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


# Before Python 3.12 only the class of the platform (`PosixPath`) can have subclasses.
class ConfigurationPath(type(Path())):  # type: ignore[misc]
    """A path whose `config.yaml` is written aside: ESPnet writes it anew whenever it goes on."""

    @contextlib.contextmanager
    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Iterator[IO[str]]:
        """As `Path.open`, in a `with` statement."""
        options = buffering, encoding, errors, newline
        if self.name == "config.yaml" and mode == "w":
            with write_aside(Path(self)) as aside, aside.open(mode, *options) as file:
                yield file
        else:
            with super().open(mode, *options) as file:
                yield file
