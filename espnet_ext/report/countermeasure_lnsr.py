"""Layerwise noise-to-signal ratio and linear probe, over training seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from espnet_ext.errors import InputError

Entry = dict[str, Any]


def lnsr_results(found: Mapping[int, Any]) -> Entry | None:
    """LNSR curves as mean, lowest and highest over training seeds.

    Raises:
        InputError: the seeds have different layers.
    """
    if not found:
        return None
    layers = found[min(found)]["layers"]
    if any(result["layers"] != layers for result in found.values()):
        raise InputError("LNSR results of different layers; repeat that stage for every seed")
    curves: dict[tuple[Any, ...], list[Entry]] = {}
    for result in found.values():
        for curve in result["curves"]:
            key = tuple(curve[k] for k in ("model", "perturbation", "eps", "norm", "centred"))
            curves.setdefault(key, []).append(curve)
    return {
        "layers": layers,
        "seeds": sorted(found),
        "curves": [_lnsr_curve(same) for same in curves.values()],
    }


def _lnsr_curve(same: Sequence[Entry]) -> Entry:
    means = np.array([curve["mean"] for curve in same], dtype=np.float64)
    return {
        **{k: same[0][k] for k in ("model", "perturbation", "eps", "norm", "centred")},
        "mean": means.mean(axis=0).tolist(),
        "low": means.min(axis=0).tolist(),
        "high": means.max(axis=0).tolist(),
        "sum": np.mean([curve["sum"] for curve in same], axis=0).tolist(),
    }


def probe_results(found: Mapping[int, Any]) -> list[Entry]:
    """Equal error rates of the linear probe in percent, means over seeds.

    Args:
        found: the rates are fractions of 1.

    Raises:
        InputError: a rate is no fraction.
    """
    rows: dict[tuple[str, str], list[Entry]] = {}
    for seed, result in found.items():
        for row in result["rows"]:
            if not all(0.0 <= row[key] <= 1.0 for key in ("dev_eer", "eval_eer")):
                raise InputError(f"probe_seed{seed}: equal error rates must be fractions of 1")
            rows.setdefault((row["model"], row["layer"]), []).append(row)
    return [
        {"model": model, "layer": layer, "seeds": len(same)}
        | {k: 100.0 * float(np.mean([r[k] for r in same])) for k in ("dev_eer", "eval_eer")}
        for (model, layer), same in rows.items()
    ]
