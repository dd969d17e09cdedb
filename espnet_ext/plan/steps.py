"""From measured steps to a whole training: pure arithmetic."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from espnet_ext.plan.costs import size


@dataclasses.dataclass(frozen=True)
class Step:
    """What one training step takes.

    Attributes:
        batch: utterances.
        seconds: of time.
        memory: bytes at the peak: of the process on a CPU, of the tensors on a GPU.
    """

    batch: int
    seconds: float
    memory: int


@dataclasses.dataclass(frozen=True)
class Training:
    """Measured steps of a configuration.

    Attributes:
        task: name of the ESPnet task.
        device: its name.
        parameters: of the model.
        steps: at growing batches.
    """

    task: str
    device: str
    parameters: int
    steps: tuple[Step, ...]

    def at(self, batch: int) -> Step:
        """A step with `batch` utterances, on the line through the last two measured ones.

        Example:
            >>> Training("a task", "a machine", 1, (Step(1, 2.0, 5), Step(2, 3.0, 7))).at(10)
            Step(batch=10, seconds=11.0, memory=23)
        """
        before, last = ((Step(0, 0.0, 0), *self.steps))[-2:]
        share = (batch - last.batch) / (last.batch - before.batch)
        return Step(
            batch=batch,
            seconds=last.seconds + share * max(0.0, last.seconds - before.seconds),
            memory=last.memory + round(share * max(0, last.memory - before.memory)),
        )


def sample_rate(config: Mapping[str, Any]) -> int:
    """Of the audio that a training YAML expects, in Hz."""
    return int((config.get("frontend_conf") or {}).get("fs", 16000))


def training_batch(config: Mapping[str, Any], seconds: float) -> int:
    """Utterances of a training step when all are of one length.

    Args:
        config: keys and values of a training YAML; its `batch_type` decides as in ESPnet.
        seconds: length of an utterance.

    Example:
        >>> training_batch({"batch_type": "numel", "batch_bins": 800000}, 5.0)
        10
        >>> training_batch({"batch_type": "folded", "batch_size": 6, "fold_length": [80000]}, 12.0)
        2
    """
    samples = seconds * sample_rate(config)
    kind, number = config.get("batch_type"), int(config.get("batch_size", 20))
    if "batch_bins" in config and kind in ("numel", "bin", "length"):
        return max(1, int(config["batch_bins"] / samples))
    if kind == "folded":
        return max(1, int(number / (1 + samples // config["fold_length"][0])))
    return number


def training_steps(config: Mapping[str, Any], utterances: int, batch: int) -> int:
    """Steps of a whole training.

    Args:
        config: keys and values of a training YAML: its epochs and their length, if it has one.
        utterances: that an epoch goes through.
        batch: utterances of a step.
    """
    epoch = config.get("num_iters_per_epoch") or math.ceil(utterances / batch)
    return int(config.get("max_epoch", 40)) * int(epoch)


def describe_training(
    training: Training, config: Mapping[str, Any], seconds: float, utterances: int, batch: int
) -> Iterator[str]:
    """What a whole training will take, as lines to read.

    Args:
        training: measured.
        config: keys and values of the training YAML.
        seconds: length of an utterance.
        utterances: that an epoch goes through.
        batch: utterances of a step.
    """
    step, steps = training.at(batch), training_steps(config, utterances, batch)
    measured = ", ".join(str(one.batch) for one in training.steps)
    origin = "measured"
    if batch not in {one.batch for one in training.steps}:
        origin = f"extrapolated on a line from batches of {measured}"
    yield f"{training.task}, {training.parameters / 1e6:.1f} million parameters, {training.device}:"
    for one in training.steps:
        yield f"  {one.batch} utterances of {seconds:g} s: {one.seconds:.3g} s, {size(one.memory)}"
    yield f"Training with {batch} utterances in a step ({origin}):"
    yield f"  a step     {step.seconds:10.3g} s, {size(step.memory)} at the peak"
    yield f"  {steps:,} steps: {steps * step.seconds / 3600:.1f} h on this device"
