"""Rows of an attack's log with errors that are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.report.recognition import attack_rows, attack_scores
from espnet_ext.report.results import AttackScores

LAYOUT = Path(__file__).parents[1] / "egs2/TEMPLATE/mtl_asr1/starter/conf/report.yaml"
UTT2SPK = {"u0": "a", "u1": "a", "u2": "a", "u3": "b", "u4": "b", "u5": "b"}
TARGET = "to be or not to"
ENVIRONMENT = {"commit": "0123456789ab", "date": "2026-01-01", "packages": {"torch": "2"}}
HOSTILE = "<script>document.title = 'taken'</script> ![x](http://a.example/b.png) | one"
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


def constant(first: int, second: int, budget: str = "eps2") -> dict[tuple[str, int], list[int]]:
    """Wrong words of every utterance after 5 and after 10 steps; without attack all five are."""
    return {(budget, 0): [5] * 6, (budget, 5): [first] * 6, (budget, 10): [second] * 6}


def scored(rows: Sequence[dict[str, Any]], *speakers: Mapping[str, str]) -> list[AttackScores]:
    """Scores of the rows of a log."""
    return attack_scores(attack_rows(rows, *speakers))
