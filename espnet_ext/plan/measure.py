"""Measuring one training step and one attack step of a configuration."""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espnet_ext import compat  # noqa: F401  isort: skip  (before ESPnet, see there)

from espnet2.text.word_tokenizer import WordTokenizer

from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.text import TextEncoder
from espnet_ext.asr.waveforms import pad
from espnet_ext.attack.estimator import PyTorchESPnet
from espnet_ext.plan.costs import Speed
from espnet_ext.tasks.mtl_asr import MTLASRTask

# Speech has about three words in a second; units of BPE are not many more.
TOKENS_A_SECOND = 3.0


def measure(
    config: dict[str, Any],
    *,
    seconds: float,
    vocab_size: int,
    heads: Sequence[str] = (),
    train_batch: int = 4,
    attack_batch: int = 4,
    autocast: str | None = None,
    device: str = "cpu",
    repeats: int = 3,
) -> Speed:
    """Time a random model of this configuration on noise of this length.

    The time of a step depends on shapes, not on what is said or learned.

    Args:
        config: keys and values of a training YAML.
        seconds: length of the utterances.
        vocab_size: tokens of the model.
        heads: names of the heads, of two classes each.
        train_batch: utterances of a training step.
        attack_batch: utterances of an attack step.
        autocast: of the attack, see `PyTorchESPnet`.
        device: "cpu" or "cuda".
        repeats: of which the fastest counts.

    Raises:
        InputError: the configuration does not make a model.
    """
    recognizer = _recognizer(config, vocab_size, heads, device)
    rate, model = recognizer.sample_rate, recognizer.model
    data = [
        _noise(int(seconds * rate), int(seconds * TOKENS_A_SECOND), vocab_size, batch, device)
        for batch in (train_batch, attack_batch)
    ]
    train = _train_step(recognizer, *data[0], heads)
    train_seconds = _fastest(train, repeats, device) / (train_batch * seconds)
    model.zero_grad(set_to_none=True)
    speech, lengths, words = data[1]
    estimator = PyTorchESPnet(recognizer, autocast=autocast)
    _reset_peak(device)
    with estimator.attack_mode():
        targets = estimator.targets(words)
        attack = _fastest(
            lambda: estimator.input_gradient(speech, lengths, targets), repeats, device
        )
        peak = _peak(device)
        # A random model does not stop by itself: a transcript takes at most what it can.
        decode = _fastest(lambda: estimator.transcribe(speech, lengths), 1, device)
    return Speed(
        device=_name(device),
        train=train_seconds,
        attack=attack / attack_batch,
        decode=decode / attack_batch,
        parameters=sum(p.numel() for p in model.parameters()),
        memory=peak,
        batch=attack_batch,
    )


def _recognizer(
    config: dict[str, Any], vocab_size: int, heads: Sequence[str], device: str
) -> SpeechRecognizer:
    tokens = ["<blank>", "<unk>", *(f"w{n}" for n in range(vocab_size - 3)), "<sos/eos>"]
    arguments = argparse.Namespace(**{**vars(MTLASRTask.get_parser().parse_args([])), **config})
    # Statistics of the corpus are not there yet, and change no time.
    arguments.normalize, arguments.normalize_conf = "utterance_mvn", {}
    arguments.token_list = tokens
    with tempfile.TemporaryDirectory() as folder:
        classes = Path(folder, "classes.txt")
        classes.write_text("a\nb\n")
        arguments.model_conf = {
            **(arguments.model_conf or {}),
            "heads": {head: str(classes) for head in heads},
            # A model of lambda_A 1 has none; most of a sweep have them.
            "asr_weight": 0.7 if heads else 1.0,
        }
        torch.manual_seed(0)
        model = MTLASRTask.build_model(arguments).to(device)
    rate = int((config.get("frontend_conf") or {}).get("fs", 16000))
    return SpeechRecognizer(model.eval(), TextEncoder(WordTokenizer(), tokens), rate, {})


def _noise(
    samples: int, words: int, vocab_size: int, batch: int, device: str
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Waveforms (B, T) of noise, their lengths, and random transcripts."""
    generator = np.random.default_rng(0)
    waves = [0.1 * generator.standard_normal(samples).astype(np.float32) for _ in range(batch)]
    drawn = generator.integers(vocab_size - 3, size=(batch, max(1, words)))
    speech, lengths = pad(waves, torch.device(device))
    return speech, lengths, [" ".join(f"w{n}" for n in row) for row in drawn]


def _train_step(
    recognizer: SpeechRecognizer,
    speech: torch.Tensor,
    lengths: torch.Tensor,
    words: Sequence[str],
    heads: Sequence[str],
) -> Callable[[], None]:
    model = recognizer.model
    ids = torch.tensor([recognizer.text.encode(text) for text in words], device=speech.device)
    text_lengths = torch.full((len(ids),), ids.size(1), device=speech.device)
    labels = {head: torch.zeros(len(ids), 1, dtype=torch.long) for head in heads}
    labels = {name: value.to(speech.device) for name, value in labels.items()}
    extra = labels | {f"{head}_lengths": torch.ones(len(ids), dtype=torch.long) for head in heads}
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        model.train()
        loss, _, _ = model(speech, lengths, ids, text_lengths, **extra)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        model.eval()

    return step


def _fastest(step: Callable[[], Any], repeats: int, device: str) -> float:
    """Seconds of the fastest of `repeats` calls, after one to warm up where there are several."""
    seconds = []
    for _ in range(repeats + (repeats > 1)):
        began = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[repeats > 1 :])


def _reset_peak(device: str) -> None:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> int:
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    # Of the process so far, training step included: a bound from above.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _name(device: str) -> str:
    if device != "cpu":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU thread(s)"
