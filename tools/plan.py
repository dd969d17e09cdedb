#!/usr/bin/env python3
"""Tell what a training, or a whole sweep of mtl_asr.sh, will cost: hours, memory, a job array.

A training of any task, then a sweep:
    tools/plan.py --train_config conf/train_large.yaml --seconds 12.3
    tools/plan.py --train_config conf/train.yaml --attack_config conf/attack.yaml \
        --sweep conf/sweep.yaml --train_utts 260000 --test_utts 1000 --seconds 5
"""

import argparse
import json
import math
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espnet_ext.bin import cli
from espnet_ext.bin.help_text import HelpFormatter

if TYPE_CHECKING:
    import torch

TOKENS_A_SECOND = 3.0  # speech has about as many words; units of BPE are not many more


class Step(NamedTuple):
    """What one step takes: utterances of it, seconds, bytes of memory at the peak."""

    batch: int
    seconds: float
    memory: int


def get_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=HelpFormatter
    )
    add, count = parser.add_argument, cli.integer(1)
    add("--train_config", required=True, help="configuration of the training")
    add("--attack_config", help="configuration of an attack on the model")
    add("--sweep", help="list of conditions; without it one training and one attack are planned")
    add("--vocab_size", type=cli.integer(3), default=5000, help="tokens of a recognizer")
    add("--heads", nargs="*", default=["accent"], help="classification heads of a recognizer")
    text = "training utterances; of countermeasures twice those of the larger class; not needed "
    add("--train_utts", type=count, help=f"{text}where num_iters_per_epoch is given")
    add("--test_utts", type=count, help="attacked utterances")
    add("--batch", type=count, help="utterances of a training step (else as configured)")
    add("--seconds", type=cli.real(above=0), required=True, help="mean length of an utterance")
    text = "utterances that are attacked together (else as configured)"
    add("--attack_batch", type=count, help=text)
    text = "largest batch that is measured, 3 at least; larger ones are extrapolated"
    add("--most", type=count, default=20, help=text)
    text = "hours that a task of a job array should last"
    add("--task_hours", type=cli.real(above=0), default=4.0, help=text)
    add("--ngpu", type=cli.integer(), default=0, help="1: measure on a GPU")
    add("--output", type=Path, help="JSON file for the numbers")
    cli.add_allow_pickle(parser)
    return parser


def main(cmd: list[str] | None = None) -> None:
    """Measure, extrapolate, print."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    if args.sweep is not None and args.attack_config is None:
        parser.error("--sweep needs --attack_config")
    if args.attack_config is not None and args.test_utts is None:
        parser.error("give --test_utts")
    cli.log_to_stderr()
    import torch

    from espnet_ext.data.configurations import read_with_base
    from espnet_ext.data.weights import pickles
    from espnet_ext.tasks.foreign import refuse_pickles

    refuse_pickles(read_with_base(args.train_config), args.train_config, args.allow_pickle)
    device, most = cli.device(args.ngpu), max(3, args.most)
    with pickles(args.allow_pickle):
        options, model, training_step = build(
            args.train_config, args.vocab_size, args.heads, device
        )
        if args.train_utts is None and not options.num_iters_per_epoch:
            parser.error("give --train_utts")
        seconds = min(args.seconds, getattr(options, "crop_seconds", None) or args.seconds)
        batch = args.batch or training_batch(options, seconds)
        # Two sizes make a line; of two utterances at least, for BatchNorm cannot train on one.
        batches = [batch] if batch <= most else sorted({max(2, most // 2), most})
        steps = [measure(training_step, example(options, n, seconds, device)) for n in batches]
        name = torch.cuda.get_device_name() if args.ngpu else f"{torch.get_num_threads()} CPU"
        number = sum(p.numel() for p in model.parameters()) / 1e6
        print(f"{number:.1f} million parameters, {name}, utterances of {seconds:g} s:")
        hours = say_training(steps, options, args.train_utts or 0, batch)
        found = {"device": name, "million_parameters": number, "training_hours": hours}
        if args.attack_config is not None:
            attack = read_with_base(args.attack_config)
            batch = args.attack_batch or min(int(attack.get("batch_size", 20)), most)
            data = example(options, min(batch, args.test_utts), seconds, device)
            step = measure(attack_step(model), data)
            if args.sweep is not None:
                found |= say_sweep(args, attack, hours, step)
            else:
                kind = "cm" if hasattr(options, "cm_loss") else "asr"
                found |= say_attack(args, kind, step)
    if args.output is not None:
        args.output.write_text(json.dumps(found, indent=1) + "\n")


def say_training(
    steps: Sequence[Step], options: argparse.Namespace, utterances: int, batch: int
) -> float:
    """Print what a training with `batch` utterances in a step takes; return its hours."""
    for step in steps:
        print(f"  {step.batch} utterances: {step.seconds:.3g} s, {step.memory / 1e9:.3g} GB")
    # A step that was not measured is on the line through the last two; more never takes less.
    before, last = ((Step(0, 0.0, 0), *steps))[-2:]
    share = (batch - last.batch) / (last.batch - before.batch)
    seconds = last.seconds + share * max(0.0, last.seconds - before.seconds)
    memory = last.memory + share * max(0, last.memory - before.memory)
    measured = " and ".join(str(step.batch) for step in steps)
    origin = f"extrapolated from {measured}" if share else "measured"
    number = options.max_epoch * (options.num_iters_per_epoch or math.ceil(utterances / batch))
    print(f"Training with {batch} utterances in a step ({origin}):")
    print(f"  {seconds:.3g} s for a step, {memory / 1e9:.3g} GB at the peak")
    print(f"  {number:,} steps: {number * seconds / 3600:.1f} h on this device")
    return number * seconds / 3600


def say_attack(args: argparse.Namespace, kind: str, step: Step) -> dict[str, float]:
    """Print, and return, the hours of an attack of one model; scores are not counted."""
    from espnet_ext.attack.settings import AttackSettings

    settings = AttackSettings.read(args.attack_config, kind)
    passes = sum(method.passes for method in settings.methods.values())
    steps = passes * len(settings.run.budgets()) * args.test_utts
    hours = steps * step.seconds / step.batch / 3600
    print(f"Attack of one model on {args.test_utts:,} utterances:")
    print(f"  {step.seconds / step.batch:.3g} s for a step and one of {step.batch} utterances")
    print(f"  {step.memory / 1e9:.3g} GB at the peak of the attack")
    print(f"  attack   {hours:10.1f} h, {steps:,} utterance-steps")
    return {"attack_hours": hours, "utterance_steps": steps, "attack_batch": step.batch}


def say_sweep(
    args: argparse.Namespace, attack: dict[str, list[float]], hours: float, step: Step
) -> dict[str, float]:
    """Print what all models and conditions of a sweep take; transcripts are not counted.

    Returns:
        hours of all trainings and of all attacks, and what they are of.
    """
    from espnet_ext.data.recipe_lists import read_sweep

    lines = read_sweep(args.sweep)
    models = len({(line.asr_weight, line.ctc_weight, line.variant) for line in lines})
    budgets = len(attack.get("eps", [])) + len(attack.get("snr", []))
    steps = int(max(attack.get("steps", [2000]))) * budgets * args.test_utts
    task = steps * step.seconds / step.batch / 3600
    shards = max(1, min(args.test_utts, math.ceil(task / args.task_hours)))
    print(f"Sweep of {models} models, {len(lines)} conditions, {budgets} budgets:")
    print(f"  {step.seconds / step.batch:.3g} s for a step and one of {step.batch} utterances")
    print(f"  {step.memory / 1e9:.3g} GB at the peak of the attack")
    print(f"  training {models * hours:10.1f} h on this device")
    print(f"  attack   {len(lines) * task:10.1f} h, {len(lines) * steps:,} utterance-steps")
    array = f"{len(lines) * shards} tasks of {task / shards:.2f} h"
    print(f"  job array of {array}: --attack_shards {shards}")
    return {
        "models": models,
        "conditions": len(lines),
        "all_training_hours": models * hours,
        "attack_hours": len(lines) * task,
        "utterance_steps": len(lines) * steps,
        "attack_batch": step.batch,
    }


def training_batch(options: argparse.Namespace, seconds: float) -> int:
    """Utterances of a training step when all are of one length, by `batch_type` as in ESPnet."""
    samples = seconds * sample_rate(options)
    if options.batch_type in ("numel", "bin", "length"):
        return max(1, int(options.batch_bins / samples))
    if options.batch_type == "folded" and options.fold_length:
        return max(1, int(options.batch_size / (1 + samples // options.fold_length[0])))
    return int(options.batch_size)


def sample_rate(options: argparse.Namespace) -> int:
    """Of the audio that a training expects, in Hz."""
    return int((options.frontend_conf or {}).get("fs", 16000))


Batch = dict[str, "torch.Tensor"]


def build(
    config: str | Path, vocab_size: int, heads: Sequence[str], device: str
) -> tuple[argparse.Namespace, "torch.nn.Module", Callable[[Batch], None]]:
    """A model with random weights, the options of its training, and a step as the trainer makes it.

    Args:
        config: YAML of a training; its encoder tells of which task.
        vocab_size: tokens of a recognizer.
        heads: names of its heads, of two classes each.
        device: "cpu" or "cuda".

    Raises:
        InputError: the configuration does not make a model.
    """
    import torch

    from espnet_ext.data.configurations import read_with_base
    from espnet_ext.errors import InputError
    from espnet_ext.tasks.configuration import parse_training
    from espnet_ext.tasks.countermeasure import CountermeasureTask
    from espnet_ext.tasks.mockingjay import MockingjayTask
    from espnet_ext.tasks.mtl_asr import MTLASRTask

    encoder, known = read_with_base(config).get("encoder"), []
    for task in (CountermeasureTask, MockingjayTask, MTLASRTask):
        known += {c.name: c for c in task.class_choices_list}["encoder"].classes
        if encoder in known:
            break
    else:
        raise InputError(f"{config}: encoder: {encoder}: of no task; one of {', '.join(known)}")
    options = parse_training(task.get_parser(), ["--config", str(config)])
    if options.frontend == "whisper_encoder" and not options.frontend_conf.get("whisper_model"):
        # Its weights are those of a file, and a step takes as long with random ones.
        options.frontend_conf["whisper_model"] = "tiny.en"
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if task is MTLASRTask:
            classes = Path(folder, "classes.txt")
            classes.write_text("a\nb\n")
            # Statistics of the corpus are not there yet, and change no time.
            options.normalize, options.normalize_conf = "utterance_mvn", {}
            words = (f"w{n}" for n in range(vocab_size - 3))
            options.token_list = ["<blank>", "<unk>", *words, "<sos/eos>"]
            options.model_conf |= {"heads": dict.fromkeys(heads, str(classes))}
            # A model of lambda_A 1 has none; most of a sweep have them.
            options.model_conf["asr_weight"] = 0.7 if heads else 1.0
        model = task.build_model(options).to(device)
    (optimizer,) = task.build_optimizers(options, model)

    def step(batch: Batch) -> None:
        model.train()
        with torch.autocast(device, enabled=bool(options.use_amp) and device == "cuda"):
            loss = model(**batch)[0]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.grad_clip)
        optimizer.step()

    return options, model, step


def attack_step(model: "torch.nn.Module") -> Callable[[Batch], None]:
    """A step of an attack: the gradient of the loss by the audio."""
    model.zero_grad(set_to_none=True)
    model.eval().requires_grad_(False)

    def step(batch: Batch) -> None:
        speech = batch["speech"].detach().requires_grad_()
        model(**{**batch, "speech": speech})[0].backward()

    return step


def example(options: argparse.Namespace, batch: int, seconds: float, device: str) -> Batch:
    """A batch of noise with what the task of `build` wants beside it."""
    import torch

    samples = int(seconds * sample_rate(options))
    data = {"speech": 0.1 * torch.randn(batch, samples, device=device)}
    data["speech_lengths"] = torch.full((batch,), samples)
    if hasattr(options, "cm_loss"):
        data["label"] = torch.arange(batch)[:, None] % 2
    elif hasattr(options, "token_list"):
        units = max(1, int(seconds * TOKENS_A_SECOND))
        data["text"] = torch.randint(2, len(options.token_list) - 1, (batch, units))
        data["text_lengths"] = torch.full((batch,), units)
        for head in options.model_conf["heads"]:
            data[head] = torch.zeros(batch, 1, dtype=torch.long)
            data[f"{head}_lengths"] = torch.ones(batch, dtype=torch.long)
    return {name: value.to(device) for name, value in data.items()}


def measure(step: Callable[[Batch], None], batch: Batch) -> Step:
    """The fastest of three steps, after one to warm up."""
    import torch

    on_gpu = batch["speech"].is_cuda
    # Of one thread it is known what it would take on a machine with nothing else to do.
    alone = not on_gpu and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(4):
        began = clock()
        step(batch)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(clock() - began)
    # Of the process so far, all that it did before included: a bound from above.
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = torch.cuda.max_memory_allocated() if on_gpu else peak
    return Step(len(batch["speech"]), min(seconds[1:]), memory)


if __name__ == "__main__":
    cli.run(main)
