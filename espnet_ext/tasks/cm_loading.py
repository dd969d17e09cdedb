"""A trained countermeasure, ready to score or to be attacked."""

import argparse
from pathlib import Path
from typing import Any

from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.data.files import read_yaml
from espnet_ext.errors import InputError
from espnet_ext.tasks.checkpoint import load_weights
from espnet_ext.tasks.countermeasure import CountermeasureTask


def load_countermeasure(
    config_file: str | Path,
    model_file: str | Path | None = None,
    *,
    device: str = "cpu",
    allow_pickle: bool = False,
) -> CountermeasureModel:
    """Load a countermeasure that `espnet_ext.bin.cm_train` has trained, its defence included.

    Args:
        config_file: the `config.yaml` saved in training. Paths in it count from the directory
            where training was started.
        model_file: its weights; None for random ones.
        device: "cpu" or "cuda".
        allow_pickle: see `espnet_ext.data.weights.read_weights`.

    Returns:
        the model in evaluation mode.

    Raises:
        InputError: a file is missing or damaged, the configuration is not that of a
            countermeasure, or the weights do not fit the model.

    Example:
        >>> model = load_countermeasure("exp/lcnn/config.yaml", "exp/lcnn/valid.eer.best.pth")
        ... # doctest: +SKIP
    """
    model = _build(read_yaml(config_file), config_file)
    if model_file is not None:
        load_weights(model, model_file, allow_pickle)
    return model.to(device).eval()


def _build(config: dict[str, Any], path: str | Path) -> CountermeasureModel:
    try:
        return CountermeasureTask.build_model(argparse.Namespace(**config))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (FileNotFoundError, AttributeError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: cannot build the model ({type(error).__name__}: {error}); it must be the "
            "config.yaml of a countermeasure, and its paths must exist from here"
        ) from error
