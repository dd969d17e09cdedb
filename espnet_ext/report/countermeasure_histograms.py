"""Histograms of countermeasure scores, before and under attack."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from espnet_ext.report.countermeasure_inputs import Run, ordered, panels

Entry = dict[str, Any]
BINS = 24
WIDEST = 4.0


def histograms(run: Run, eps: Sequence[float]) -> list[Entry]:
    """Counts of scores of the undefended and the Mockingjay countermeasures, for Figure 2's PGD.

    Args:
        run: the scores.
        eps: those that exist are used; without any of them, all that exist.
    """
    found = []
    for panel in panels(run):
        for model in run.models:
            if (panel["method"], panel["architecture"]) != ("pgd", model.architecture):
                continue
            if model.variant in ("mel", "mock") and (model.name, run.seeds[0]) in run.clean:
                found += _histogram_row(run, model.name, panel["source"], eps)
    return found


def _histogram_row(run: Run, target: str, source: str | None, eps: Sequence[float]) -> list[Entry]:
    cells = [c for c in ordered(run) if c[:3] == (source, target, "pgd")]
    if not cells:
        return []
    chosen = [cell for cell in cells if cell.eps in eps] or cells
    clean = {s: run.clean[target, s].scores[run.positions] for s in run.attack[chosen[0]]}
    row = [_histogram(run, target, source, None, clean)]
    return row + [_histogram(run, target, source, c.eps, run.attack[c]) for c in chosen]


def _histogram(
    run: Run,
    target: str,
    source: str | None,
    eps: float | None,
    scores: Mapping[int, np.ndarray],
) -> Entry:
    edges = np.linspace(-WIDEST, WIDEST, BINS + 1)
    scaled = np.stack([_scaled(run, target, seed, row) for seed, row in scores.items()])
    inside = scaled.clip(edges[0], edges[-1])
    counts = [np.histogram(inside[:, run.attacked.bonafide == c], edges)[0] for c in (True, False)]
    return {
        "target": target,
        "source": source,
        "method": "pgd",
        "eps": eps,
        "edges": edges.tolist(),
        "bonafide": counts[0].tolist(),
        "spoof": counts[1].tolist(),
    }


def _scaled(run: Run, target: str, seed: int, scores: np.ndarray) -> np.ndarray:
    clean = run.clean[target, seed]
    return (scores - clean.threshold) / (clean.scores.std() or 1.0)
