"""Success of an attack on the countermeasure that it was made on, from the rows of its log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from espnet_ext.data.attack_log import Row, Setting, rows_by_setting
from espnet_ext.metrics.bootstrap import difference_draws, rate
from espnet_ext.report.comparisons import spent, strengths
from espnet_ext.report.results import CurvePoint

KEPT = (
    *("utterance", "method", "budget", "step", "reached", "loss", "stalled_steps", "strongest"),
    *("gradients", "queries"),
)
"""What a curve needs of a row; a log also has what every other model answers."""


class _Seen(NamedTuple):
    """A row: the unit that the bootstrap draws, the training seed, and the row of the log."""

    unit: int
    seed: int
    row: Row


def kept(rows: Sequence[Row]) -> list[Row]:
    """Rows of a log with what a curve needs of them."""
    return [{key: row[key] for key in KEPT if key in row} for row in rows]


def success_curve(logs: Mapping[int, Sequence[Row]], units: Mapping[str, int]) -> list[CurvePoint]:
    """Success of every setting.

    Args:
        logs: rows by training seed, of the same utterances.
        units: what the bootstrap draws, of each utterance.
    """
    seen: dict[Setting, list[_Seen]] = {}
    for seed, rows in logs.items():
        for setting, same in rows_by_setting(rows).items():
            same = sorted(same, key=lambda row: row["utterance"])
            seen.setdefault(setting, []).extend(
                _Seen(units[row["utterance"]], seed, row) for row in same
            )
    strength = strengths(seen, _more_success)
    curve = []
    for setting, every in seen.items():
        losses = [s.row["loss"] for s in every if s.row["loss"] is not None]
        reached = [float(s.row["reached"]) for s in every]
        place = [s.unit for s in every], [s.seed for s in every]
        point: CurvePoint = {
            **strength.get(setting, {}),
            **setting._asdict(),  # type: ignore[typeddict-item]
            "utterances": len({s.row["utterance"] for s in every}),
            "success_rate": rate(reached, [1.0] * len(every), *place),
            "loss_mean": float(np.mean(losses)) if losses else None,
            "stalled_utterances": sum(s.row["stalled_steps"] > 0 for s in every),
            **spent([s.row for s in every]),
        }
        strongest = Counter(str(s.row["strongest"]) for s in every if "strongest" in s.row)
        if strongest:
            point["strongest"] = dict(strongest)
        curve.append(point)
    return curve


def _more_success(rows: Sequence[_Seen], others: Sequence[_Seen]) -> np.ndarray:
    """Draws of points of success more, of training seeds that both have."""
    seeds = {s.seed for s in rows} & {s.seed for s in others}
    own, other = ([s for s in side if s.seed in seeds] for side in (rows, others))
    counts = [float(s.row["reached"]) for s in own], [float(s.row["reached"]) for s in other]
    over = [1.0] * len(own), [1.0] * len(other)
    return difference_draws(counts, over, [s.unit for s in own], [s.seed for s in own])
