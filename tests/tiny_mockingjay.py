"""A Mockingjay small enough for tests, built through its task as a recipe builds it."""

import torch
import yaml

from espnet_ext.tasks.mockingjay import MockingjayTask

FEATURES = {
    "frontend": "mel",
    "frontend_conf": {
        "fs": 8000, "n_fft": 256, "win_length": 200, "hop_length": 80, "n_mels": 10,
    },
    "normalize": "utterance",
    "normalize_conf": {"mean": True, "variance": True},
}  # fmt: skip
ENCODER = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "ff_size": 32, "downsample": 3}


def tiny_config(**changes):
    """The configuration of a tiny model, as keys and values of a training YAML."""
    return {**FEATURES, "encoder_conf": dict(ENCODER), **changes}


def task_arguments(config):
    """The arguments that `config` gives on the command line of the task."""
    arguments = MockingjayTask.get_parser().parse_args([])
    for key, value in config.items():
        setattr(arguments, key, value)
    return arguments


def tiny_model(seed=1, **changes):
    """A model with random weights."""
    torch.manual_seed(seed)
    return MockingjayTask.build_model(task_arguments(tiny_config(**changes)))


def save_checkpoint(directory, seed=1, **changes):
    """Write config.yaml and weights as a training leaves them; the path of the weights."""
    model = tiny_model(seed, **changes)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(tiny_config(**changes)))
    torch.save(model.state_dict(), directory / "valid.loss.best.pth")
    return directory / "valid.loss.best.pth"
