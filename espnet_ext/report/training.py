"""How models were trained: configurations and courses of training, small enough to keep."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet2.train.reporter import Reporter

from espnet_ext.data.files import read_yaml, write_json
from espnet_ext.data.weights import TRAINING_STATE, load_tensors

NOT_KEPT = ("token_list",)
# Entries of ESPnet's reporter that measure nothing.
NO_MEASURES = ("time", "total_count")
DIGITS = 5


def write_training(directories: Iterable[str | Path], output_dir: str | Path) -> None:
    """Write `training.json` of the models of a report.

    Args:
        directories: of trained models; those without `config.yaml` are left out.
        output_dir: of the report.

    Raises:
        InputError: a checkpoint is damaged.
    """
    write_json(Path(output_dir) / "training.json", training_summary(directories))


def training_summary(directories: Iterable[str | Path]) -> dict[str, Any]:
    """Configuration and course of trainings.

    Args:
        directories: as for `write_training`.

    Returns:
        "common": what all configurations have alike; "models", by the name of the directory:
        "configuration", what is different for the model, and its "course", see `course`.
    """
    found = [
        path for d in dict.fromkeys(map(Path, directories)) if (path := d / "config.yaml").is_file()
    ]
    configs = {
        path.parent: {
            key: value
            for key, value in read_yaml(path).items()
            # ESPnet writes every option, and those without a value say nothing.
            if value not in (None, [], {}) and key not in NOT_KEPT
        }
        for path in found
    }
    first, *others = configs.values() or [{}]
    common = {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}
    return {
        "common": common,
        "models": {
            directory.name: {
                "configuration": {k: v for k, v in config.items() if k not in common},
                "course": course(directory),
            }
            for directory, config in configs.items()
        },
    }


def course(directory: str | Path) -> dict[str, Any] | None:
    """What ESPnet's reporter counted.

    Args:
        directory: of a trained model.

    Returns:
        epochs, updates, seconds (of training and validation), and by epoch the training loss and
        all measures of validation that are numbers, with five digits; None for a model that was
        put together and not trained, as a filter before a countermeasure.

    Raises:
        InputError: the checkpoint is damaged.
    """
    path = Path(directory) / "checkpoint.pth"
    if not path.is_file():
        return None
    reporter = Reporter()
    # Without unpickling: beside tensors the state holds times and numbers of NumPy.
    reporter.load_state_dict(load_tensors(path, known=TRAINING_STATE)["reporter"])
    stats = reporter.stats
    epochs = [stats[number] for number in sorted(stats)]
    parts = [part for epoch in epochs for part in epoch.values()]
    return {
        "epochs": len(epochs),
        "updates": max((int(e["train"]["total_count"]) for e in epochs), default=0),
        "seconds": round(sum(part["time"].total_seconds() for part in parts)),
        "train": {"loss": [_short(epoch["train"]["loss"]) for epoch in epochs]},
        "valid": _measures([epoch["valid"] for epoch in epochs]),
    }


def _measures(epochs: list[Mapping[str, Any]]) -> dict[str, list[float]]:
    names = [name for name in (epochs[0] if epochs else {}) if name not in NO_MEASURES]
    found = {name: [float(epoch.get(name, math.nan)) for epoch in epochs] for name in names}
    return {
        name: [_short(value) for value in values]
        for name, values in found.items()
        # JSON has no NaN.
        if all(map(math.isfinite, values))
    }


def _short(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")
