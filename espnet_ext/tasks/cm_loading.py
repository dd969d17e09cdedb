"""A trained countermeasure, ready to score or to be attacked."""

from pathlib import Path
from typing import Any

from espnet_ext.cm.model import CountermeasureModel
from espnet_ext.data.model_files import model_paths
from espnet_ext.tasks.building import build, read_configuration
from espnet_ext.tasks.checkpoint import load_weights
from espnet_ext.tasks.countermeasure import CountermeasureTask
from espnet_ext.tasks.foreign import refuse_pickles


def load_countermeasure(
    config_file: str | Path,
    model_file: str | Path | None = None,
    *,
    device: str = "cpu",
    allow_pickle: bool = False,
) -> CountermeasureModel:
    """Load a countermeasure that `espnet_ext.bin.cm_train` has trained, its defence included.

    Args:
        config_file: the `config.yaml` saved in training, the directory of the model, or an
            archive of it.
        model_file: its weights; None for those of a directory or an archive, and for random
            ones beside a configuration.
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
    path, weights = model_paths(config_file, model_file, "cm")
    config = read_countermeasure(path, allow_pickle)
    model = build(CountermeasureTask, config, path, allow_pickle)
    assert isinstance(model, CountermeasureModel)
    if weights is not None:
        load_weights(model, weights, allow_pickle)
    return model.to(device).eval()


def read_countermeasure(path: str | Path, allow_pickle: bool = False) -> dict[str, Any]:
    """Read the configuration of a countermeasure, its files found where they are now.

    Raises:
        InputError: see `espnet_ext.tasks.building.read_configuration`; or it asks to unpickle.
    """
    needed = ("frontend", "encoder", "cm_loss")
    config = read_configuration(path, "a spoofing countermeasure", own=("cm_loss",), needed=needed)
    refuse_pickles(config, path, allow_pickle)
    return config
