"""A pretrained Mockingjay with its head, ready to reconstruct."""

import argparse
from pathlib import Path

from espnet_ext.data.files import read_yaml
from espnet_ext.errors import InputError
from espnet_ext.ssl.model import MockingjayModel
from espnet_ext.tasks.checkpoint import load_weights
from espnet_ext.tasks.mockingjay import MockingjayTask


def load_mockingjay(
    config_file: str | Path,
    model_file: str | Path,
    *,
    device: str = "cpu",
    allow_pickle: bool = False,
) -> MockingjayModel:
    """Load what `espnet_ext.bin.ssl_train` has trained.

    Args:
        config_file: the `config.yaml` saved in training.
        model_file: its weights.
        device: "cpu" or "cuda".
        allow_pickle: see `espnet_ext.data.weights.read_weights`.

    Returns:
        the model in evaluation mode.

    Raises:
        InputError: a file is missing or damaged, the configuration is not that of a
            Mockingjay, or the weights do not fit the model.

    Example:
        >>> model = load_mockingjay("exp/ssl/config.yaml", "exp/ssl/valid.loss.best.pth")
        ... # doctest: +SKIP
    """
    try:
        model = MockingjayTask.build_model(argparse.Namespace(**read_yaml(config_file)))
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{config_file}: not the config.yaml of a Mockingjay ({type(error).__name__}: {error})"
        ) from error
    load_weights(model, model_file, allow_pickle)
    return model.to(device).eval()
