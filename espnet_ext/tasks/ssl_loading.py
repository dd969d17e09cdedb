"""A pretrained Mockingjay with its head, ready to reconstruct."""

from pathlib import Path

from espnet_ext.data.model_files import model_paths
from espnet_ext.ssl.model import MockingjayModel
from espnet_ext.tasks.building import build, read_configuration
from espnet_ext.tasks.checkpoint import load_weights
from espnet_ext.tasks.foreign import refuse_pickles
from espnet_ext.tasks.mockingjay import MockingjayTask


def load_mockingjay(
    config_file: str | Path,
    model_file: str | Path | None = None,
    *,
    device: str = "cpu",
    allow_pickle: bool = False,
) -> MockingjayModel:
    """Load what `espnet_ext.bin.ssl_train` has trained.

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
            Mockingjay, or the weights do not fit the model.

    Example:
        >>> model = load_mockingjay("exp/ssl/config.yaml", "exp/ssl/valid.loss.best.pth")
        ... # doctest: +SKIP
    """
    path, weights = model_paths(config_file, model_file, "ssl")
    config = read_configuration(
        path, "a Mockingjay", own=("crop_seconds",), needed=("frontend", "encoder_conf", "target")
    )
    refuse_pickles(config, path, allow_pickle)
    model = build(MockingjayTask, config, path, allow_pickle)
    assert isinstance(model, MockingjayModel)
    if weights is not None:
        load_weights(model, weights, allow_pickle)
    return model.to(device).eval()
