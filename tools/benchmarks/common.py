"""The model and the clock that all benchmarks share.

Ratios are medians over interleaved repetitions of one process, so that a machine that is
busy with something else slows both sides. On a CPU the time is that of the process.
"""

import argparse
import ctypes
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from espnet2.text.word_tokenizer import WordTokenizer

from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.text import TextEncoder
from espnet_ext.attack import Budget, Evasion, Pgd, PyTorchESPnet
from espnet_ext.tasks.mtl_asr import MTLASRTask

# As the recipes' path.sh: otherwise the case that happens to free its arrays last pays for them.
if hasattr(ctypes.CDLL(None), "mallopt"):
    for _threshold in (-1, -3):  # of trimming, and of mapping by itself: M_TRIM_, M_MMAP_THRESHOLD
        ctypes.CDLL(None).mallopt(_threshold, 1 << 30)

RATE = 16000
WORDS = [f"w{i}" for i in range(497)]


def get_parser(description: str | None) -> argparse.ArgumentParser:
    """Options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--repeats", type=int, default=7, help="repetitions (default: 7)")
    text = "JSON lines to which the numbers that are printed are added"
    parser.add_argument("--records", type=_Records, help=text)
    return parser


class _Records:
    """The file of `--records`, of which a process has one at most."""

    file: Path | None = None

    def __init__(self, file: str):
        _Records.file = Path(file)


def keep(name: str, value: float, **more: object) -> None:
    """Add a number to the file of `--records`, if there is one.

    Args:
        name: what it is of.
        value: the number.
        more: its unit or limit.
    """
    if _Records.file is not None:
        with _Records.file.open("a") as file:
            file.write(json.dumps({"name": name, "value": value, **more}) + "\n")


def recognizer(device: str, seed: int = 0) -> SpeechRecognizer:
    """A random hybrid model: Conformer of 8 blocks of 256, decoder of 3 blocks, 500 tokens."""
    torch.manual_seed(seed)
    tokens = ["<blank>", "<unk>", *WORDS, "<sos/eos>"]
    arguments = MTLASRTask.get_parser().parse_args([])
    arguments.token_list = tokens
    arguments.frontend_conf = {"fs": RATE, "n_fft": 512, "hop_length": 256}
    arguments.normalize = "utterance_mvn"
    arguments.encoder = "conformer"
    arguments.encoder_conf = {
        "output_size": 256,
        "num_blocks": 8,
        "linear_units": 1024,
        "macaron_style": True,
        "rel_pos_type": "latest",
    }
    arguments.decoder = "transformer"
    arguments.decoder_conf = {"num_blocks": 3, "linear_units": 1024}
    arguments.model_conf = {"ctc_weight": 0.3}
    model = MTLASRTask.build_model(arguments).to(device).eval()
    return SpeechRecognizer(model, TextEncoder(WordTokenizer(), tokens), RATE, {})


def speech(*seconds: float, seed: int = 0) -> list[np.ndarray]:
    """Noise of these lengths."""
    generator = np.random.default_rng(seed)
    return [(0.1 * generator.standard_normal(int(s * RATE))).astype(np.float32) for s in seconds]


def transcripts(count: int, words: int = 8, seed: int = 0) -> np.ndarray:
    """Random targets."""
    generator = np.random.default_rng(seed)
    return np.array([" ".join(generator.choice(WORDS, words)) for _ in range(count)])


def paper_attack(
    estimator: PyTorchESPnet, *steps: int, batch_size: int = 20, eps_step: float = 0.05
) -> Evasion:
    """PGD as Das and Chau (2022) have it: constant steps from the clean waveform, the last one."""
    method = Pgd(steps=steps, eps_step=eps_step, start="clean", best=False)
    return Evasion(estimator, method, Budget(2, 2.0), batch_size)


def compare(
    cases: dict[str, Callable[[], object]], repeats: int, device: str
) -> dict[str, list[float]]:
    """Seconds of each case in each repetition, the cases taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for repetition in range(repeats + 1):
        for name, case in cases.items():
            began = _now(device)
            case()
            if repetition > 0:  # the first is for warming up
                seconds[name].append(_now(device) - began)
    return seconds


def _now(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def ratio(seconds: dict[str, list[float]], name: str, over: str) -> float:
    """Median over the repetitions of one case's time over another's."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[over], strict=True))


def show(seconds: dict[str, list[float]], unit: float = 1.0) -> None:
    """Print the median of each case, divided by `unit` (steps, utterances)."""
    for name, values in seconds.items():
        each = statistics.median(values) / unit
        print(f"{name:<52}{each:9.4f} s")
        keep(name, each, unit="s")


def say(text: str, value: float) -> None:
    """Print a number that need not reach anything."""
    print(f"{text:<52}{value:9.4g}")
    keep(text, value)


def verdict(text: str, value: float, limit: float, at_most: bool = True) -> None:
    """Print a ratio beside what it must reach."""
    good = value <= limit if at_most else value >= limit
    relation = "<=" if at_most else ">="
    print(f"{text:<52}{value:9.4g}   ({relation} {limit}: {'yes' if good else 'NO'})")
    keep(text, value, must_be=relation, limit=limit, good=good)
