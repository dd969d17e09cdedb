"""Measuring steps of a training, of any task of this project."""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_ext.asr.waveforms import pad
from espnet_ext.errors import InputError
from espnet_ext.plan.steps import Step, Training, sample_rate
from espnet_ext.tasks.configuration import CarefulTask
from espnet_ext.tasks.countermeasure import CountermeasureTask
from espnet_ext.tasks.countermeasure import encoder_choices as cm_encoders
from espnet_ext.tasks.mockingjay import MockingjayTask
from espnet_ext.tasks.mockingjay import encoder_choices as ssl_encoders
from espnet_ext.tasks.mtl_asr import MTLASRTask

# Speech has about three words in a second; units of BPE are not many more.
TOKENS_A_SECOND = 3.0

Batch = dict[str, torch.Tensor]


def task_of(config: Mapping[str, Any]) -> type[CarefulTask]:
    """The task that a training YAML is for: its encoder tells.

    Raises:
        InputError: the encoder is of no task.
    """
    encoder = config.get("encoder")
    if encoder in cm_encoders.classes:
        return CountermeasureTask
    if encoder in ssl_encoders.classes:
        return MockingjayTask
    known = {c.name: c for c in MTLASRTask.class_choices_list}["encoder"].classes
    if encoder in known:
        return MTLASRTask
    names = [*cm_encoders.classes, *ssl_encoders.classes, *known]
    raise InputError(f"encoder: {encoder}: of no task; one of {', '.join(names)}")


def build(
    config: Mapping[str, Any],
    *,
    vocab_size: int = 5000,
    heads: Sequence[str] = (),
    device: str = "cpu",
) -> tuple[argparse.Namespace, torch.nn.Module]:
    """A model with random weights, and all options of its training.

    Args:
        config: keys and values of a training YAML.
        vocab_size: tokens of a recognizer.
        heads: names of its heads, of two classes each.
        device: "cpu" or "cuda".

    Raises:
        InputError: the configuration does not make a model.
    """
    task = task_of(config)
    defaults = vars(task.get_parser().parse_args([]))
    unknown = [key for key in config if key not in defaults]
    if unknown:
        raise InputError(f"{task.__name__} has no option {', '.join(unknown)}")
    arguments = argparse.Namespace(**{**defaults, **config})
    torch.manual_seed(0)
    if task is not MTLASRTask:
        return arguments, task.build_model(arguments).to(device)
    # Statistics of the corpus are not there yet, and change no time.
    arguments.normalize, arguments.normalize_conf = "utterance_mvn", {}
    arguments.token_list = ["<blank>", "<unk>", *_words(vocab_size), "<sos/eos>"]
    with tempfile.TemporaryDirectory() as folder:
        classes = Path(folder, "classes.txt")
        classes.write_text("a\nb\n")
        arguments.model_conf = {
            **(arguments.model_conf or {}),
            "heads": {head: str(classes) for head in heads},
            # A model of lambda_A 1 has none; most of a sweep have them.
            "asr_weight": 0.7 if heads else 1.0,
        }
        return arguments, task.build_model(arguments).to(device)


def _words(vocab_size: int) -> Iterator[str]:
    return (f"w{n}" for n in range(vocab_size - 3))


def noise(samples: int, batch: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Waveforms (B, T) of white noise, and their lengths (B,)."""
    generator = np.random.default_rng(0)
    waves = [0.1 * generator.standard_normal(samples).astype(np.float32) for _ in range(batch)]
    return pad(waves, torch.device(device))


def random_words(tokens: Sequence[str], seconds: float, batch: int) -> list[str]:
    """Transcripts of random units of a list, as many as speech of this length has."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(2, len(tokens) - 1, size=(batch, _units(seconds)))
    return [" ".join(tokens[n] for n in row) for row in drawn]


def _units(seconds: float) -> int:
    return max(1, int(seconds * TOKENS_A_SECOND))


def example(
    arguments: argparse.Namespace,
    config: Mapping[str, Any],
    batch: int,
    seconds: float,
    device: str,
) -> Batch:
    """A batch of noise with what the task of `config` wants beside it.

    Args:
        arguments: of `build`.
        config: keys and values of the training YAML.
        batch: utterances.
        seconds: length of an utterance.
        device: "cpu" or "cuda".
    """
    samples = int(seconds * sample_rate(config))
    speech, lengths = noise(samples, batch, device)
    data = {"speech": speech, "speech_lengths": lengths}
    task = task_of(config)
    if task is CountermeasureTask:
        data["label"] = torch.arange(batch)[:, None] % 2
    elif task is MTLASRTask:
        units = arguments.token_list
        drawn = [text.split() for text in random_words(units, seconds, batch)]
        ids = {unit: number for number, unit in enumerate(units)}
        data["text"] = torch.tensor([[ids[unit] for unit in row] for row in drawn])
        data["text_lengths"] = torch.full((batch,), _units(seconds))
        for head in arguments.model_conf["heads"]:
            data[head] = torch.zeros(batch, 1, dtype=torch.long)
            data[f"{head}_lengths"] = torch.ones(batch, dtype=torch.long)
    return {name: value.to(device) for name, value in data.items()}


def training_step(
    arguments: argparse.Namespace, model: torch.nn.Module, task: type[CarefulTask], batch: Batch
) -> Callable[[], None]:
    """A step as ESPnet's trainer makes it: forward, backward, clipping, optimiser.

    Args:
        arguments: of `build`.
        model: of `build`.
        task: of `task_of`.
        batch: of `example`.
    """
    (optimizer,) = task.build_optimizers(arguments, model)
    device = batch["speech"].device.type
    mixed = bool(arguments.use_amp) and device == "cuda"
    scaler = torch.amp.GradScaler(device, enabled=mixed)

    def step() -> None:
        model.train()
        with torch.autocast(device, enabled=mixed):
            loss = model(**batch)[0]
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), arguments.grad_clip)
        scaler.step(optimizer)
        scaler.update()

    return step


def measure_training(
    config: Mapping[str, Any],
    *,
    seconds: float,
    batches: Sequence[int],
    vocab_size: int = 5000,
    heads: Sequence[str] = (),
    device: str = "cpu",
    repeats: int = 3,
) -> Training:
    """Time training steps of a random model on noise, at several batch sizes.

    The time of a step depends on shapes, not on what is said or learned.

    Args:
        config: keys and values of a training YAML.
        seconds: length of the utterances.
        batches: utterances of a step, growing, so that the peak of memory grows with them.
        vocab_size: tokens of a recognizer.
        heads: names of its heads, of two classes each.
        device: "cpu" or "cuda".
        repeats: of which the fastest counts.

    Raises:
        InputError: the configuration does not make a model.
    """
    arguments, model = build(config, vocab_size=vocab_size, heads=heads, device=device)
    task = task_of(config)
    steps = []
    for batch in batches:
        data = example(arguments, config, batch, seconds, device)
        steps.append(measure_step(arguments, model, task, data, repeats))
    parameters = sum(p.numel() for p in model.parameters())
    return Training(task.__name__, device_name(device), parameters, tuple(steps))


def measure_step(
    arguments: argparse.Namespace,
    model: torch.nn.Module,
    task: type[CarefulTask],
    batch: Batch,
    repeats: int = 3,
) -> Step:
    """Time one step, see `training_step`; the model is left in evaluation mode."""
    device = batch["speech"].device.type
    reset_peak(device)
    seconds = fastest(training_step(arguments, model, task, batch), repeats, device)
    step = Step(len(batch["speech"]), seconds, peak(device))
    model.zero_grad(set_to_none=True)
    model.eval()
    return step


def fastest(step: Callable[[], Any], repeats: int, device: str) -> float:
    """Seconds of the fastest of `repeats` calls, after one to warm up where there are several."""
    # Of one thread it is known what it would take on a machine with nothing else to do.
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    seconds = []
    for _ in range(repeats + (repeats > 1)):
        began = clock()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(clock() - began)
    return min(seconds[repeats > 1 :])


def reset_peak(device: str) -> None:
    """Let `peak` begin anew, where the device can."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> int:
    """Bytes at the peak of memory."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    # Of the process so far, all that it did before included: a bound from above.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name(device: str) -> str:
    """What was measured on."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU thread(s)"
