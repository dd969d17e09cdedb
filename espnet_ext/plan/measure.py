"""Measuring one training step and one attack step of a configuration."""

from collections.abc import Sequence
from typing import Any

from espnet2.text.word_tokenizer import WordTokenizer

from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.text import TextEncoder
from espnet_ext.plan.costs import Speed
from espnet_ext.plan.steps import sample_rate
from espnet_ext.plan.training import (
    build,
    device_name,
    example,
    fastest,
    measure_step,
    noise,
    peak,
    random_words,
    reset_peak,
)
from espnet_ext.tasks.mtl_asr import MTLASRTask
from espnet_ext.victims.recognizer import PyTorchESPnet


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
    arguments, model = build(config, vocab_size=vocab_size, heads=heads, device=device)
    data = example(arguments, config, train_batch, seconds, device)
    train = measure_step(arguments, model, MTLASRTask, data, repeats).seconds
    rate, text = sample_rate(config), TextEncoder(WordTokenizer(), arguments.token_list)
    estimator = PyTorchESPnet(SpeechRecognizer(model, text, rate, {}), autocast=autocast)
    speech, lengths = noise(int(seconds * rate), attack_batch, device)
    words = random_words(arguments.token_list, seconds, attack_batch)
    reset_peak(device)
    with estimator.attack_mode():
        targets = estimator.targets(words)
        attack = fastest(
            lambda: estimator.input_gradient(speech, lengths, targets), repeats, device
        )
        memory = peak(device)
        # A random model does not stop by itself: a transcript takes at most what it can.
        decode = fastest(lambda: estimator.transcribe(speech, lengths), 1, device)
    return Speed(
        device=device_name(device),
        train=train / (train_batch * seconds),
        attack=attack / attack_batch,
        decode=decode / attack_batch,
        parameters=sum(p.numel() for p in model.parameters()),
        memory=memory,
        batch=attack_batch,
    )
