"""An experiment directory belongs to one configuration."""

import argparse
from pathlib import Path
from typing import Any

import yaml
from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

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
        InputError: names the settings that differ.
    """
    if not args.resume or not Path(args.output_dir, "checkpoint.pth").is_file():
        return
    output_dir = Path(args.output_dir)
    before = yaml.safe_load((output_dir / "config.yaml").read_text(encoding="utf-8"))
    now = yaml.safe_load(yaml_no_alias_safe_dump(vars(args)))
    changes = [
        f"  {key}: {_describe(before.get(key))} -> {_describe(now.get(key))}"
        for key in sorted({*before, *now})
        if _decides_result(key) and before.get(key) != now.get(key)
    ]
    if changes:
        raise InputError(
            f"{output_dir} holds a training with another configuration:\n{summarize(changes)}\n"
            "Give another --output_dir, or remove this one."
        )


def _decides_result(key: str) -> bool:
    return key not in RUN_OPTIONS and not key.startswith(RUN_PREFIXES)


def _describe(value: Any, limit: int = 60) -> str:
    """A value in at most `limit` characters, for messages."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
