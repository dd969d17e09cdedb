"""A sweep on disk, laid out as mtl_asr.sh does and with errors that are known."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from espnet_ext.data.files import write_json, write_jsonl
from espnet_ext.report.conditions import Condition
from espnet_ext.report.robustness import make_results

SWEEP = Path(__file__).parents[2] / "egs2" / "fsdd" / "mtl_asr1" / "conf" / "sweep.tsv"
UTT2SPK = {"u0": "a", "u1": "a", "u2": "a", "u3": "b", "u4": "b", "u5": "b"}
TARGET = "to be or not to"
Wrong = Mapping[tuple[str, int], Sequence[int]]


def hypothesis(wrong: int) -> str:
    """The target with its first words wrong."""
    return " ".join(["oops"] * wrong + TARGET.split()[wrong:])


def log_row(utterance: str, budget: str, step: int, wrong: int, **changes: Any) -> dict[str, Any]:
    """A row as the attack writes it; the reference is one word, "oops"."""
    return {
        "utterance": utterance,
        "budget": budget,
        "radius": 2.0,
        "seed": 0,
        "reference": "oops",
        "target": TARGET,
        "step": step,
        "l2": 0.01 * step,
        "linf": 0.001 * step,
        "snr": 60.0 - step - int(utterance[1:]) if step else None,
        "hypothesis": hypothesis(wrong),
        "loss": 50.0 - step,
        "loss_att": 50.0 - step,
        "stalled_steps": 0,
        "seconds": 0.1,
        **changes,
    }


def log_rows(wrong: Wrong, **changes: Any) -> list[dict[str, Any]]:
    """Rows by utterance, as the attack writes them; wrong words of each utterance."""
    return [
        log_row(utterance, budget, step, errors[number], **changes)
        for number, utterance in enumerate(UTT2SPK)
        for (budget, step), errors in wrong.items()
    ]


@pytest.fixture
def add(tmp_path) -> Callable[..., Condition]:
    """Write the results of one condition."""

    def add(weights: tuple[float, float, float], wrong: Wrong, **changes: Any) -> Condition:
        la, lc, li = weights
        model = tmp_path / "exp" / f"la{la}_lc{lc}_seed0"
        decode, attack = model / f"decode_li{li}" / "test", model / f"attack_li{li}"
        write_jsonl(attack / "attack_log.jsonl", log_rows(wrong))
        about = {
            "model": {"config": {"path": f"{model}/config.yaml", "sha256": "0"}},
            "ctc_weight": li,
            "settings": {"norm": 2, "eps": [2.0], "snr": [], "steps": [5, 10]},
            "utterances": {"count": len(UTT2SPK), "sha256": "1"},
            "batches": [list(UTT2SPK)],
        }
        write_json(attack / "attack.json", about | changes)
        accuracy = {"accent_accuracy": [75.0, 50.0, 100.0]} if la < 1.0 else {}
        scores = {"utterances": 8, "wer": [12.34, 10.0, 15.0], "cer": [6.0, 5.0, 7.0], **accuracy}
        write_json(decode / "results.json", {"environment": {}, "scores": scores})
        return Condition(la, lc, li, model, decode, attack)

    return add


def constant(first: int, second: int, budget: str = "eps2") -> dict[tuple[str, int], list[int]]:
    """Wrong words of every utterance after 5 and after 10 steps; without attack all five are."""
    return {(budget, 0): [5] * 6, (budget, 5): [first] * 6, (budget, 10): [second] * 6}


@pytest.fixture
def three(add) -> list[Condition]:
    """AdvTWER after 5 steps of 60, 40 and 50 %, after 10 of 40, 80 and 10 %."""
    mixed = {**constant(0, 0), ("eps2", 5): [0, 5, 0, 5, 0, 5], ("eps2", 10): [3, 0, 0, 0, 0, 0]}
    return [
        add((1.0, 0.0, 0.0), constant(3, 2)),
        add((1.0, 0.5, 0.5), constant(2, 4)),
        add((0.7, 0.0, 0.0), mixed),
    ]


@pytest.fixture
def results() -> Callable[..., dict[str, Any]]:
    """Results as they are read back from results.json."""

    def results(conditions: Sequence[Condition], utt2spk: Any = None) -> dict[str, Any]:
        found = make_results(conditions, utt2spk, {"commit": "0123456789ab"})
        return json.loads(json.dumps(found, allow_nan=False))

    return results


@pytest.fixture
def sixteen() -> list[tuple[float, ...]]:
    """The weights of the paper's conditions."""
    lines = SWEEP.read_text().splitlines()
    return [tuple(map(float, line.split("\t"))) for line in lines if not line.startswith("#")]
