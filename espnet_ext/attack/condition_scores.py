"""Score files of countermeasures under attack, from the rows of a run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_ext.cm.scores import TrialScore, write_score_file
from espnet_ext.data.attack_log import RECORD, Row, condition_of
from espnet_ext.data.files import read_record, write_json
from espnet_ext.data.ids import file_of


def write_condition_scores(rows: Sequence[Row], output_dir: str | Path) -> list[Row]:
    """Write `<target>/<method>/<budget>/scores.txt`, and what each budget turned out to mean.

    `attack.json` gets two tables by eps for each method: the mean SNR, and, if there are any, the
    number of utterances that had steps without a usable gradient. Budgets that are an SNR are
    left out.

    Args:
        rows: of `AttackRun.collect`.
        output_dir: of the run.

    Returns:
        a summary of each condition: method, eps (None where the budget is an SNR), the budget's
        name, utterances, mean loss of the source, largest perturbation, mean SNR.
    """
    output, summary = Path(output_dir), []
    conditions: dict[str, list[Row]] = {}
    for row in rows:
        conditions.setdefault(condition_of(row), []).append(row)
    for condition, every in conditions.items():
        # Scores of the whole attack; fewer steps are in the log alone.
        last = max(row["step"] for row in every)
        found = [row for row in every if row["step"] == last]
        for target in found[0]["answers"]:
            scores = [
                TrialScore(r["utterance"], r["attack"], r["key"], r["answers"][target]["score"])
                for r in found
            ]
            write_score_file(file_of(output, target) / condition / "scores.txt", scores)
        summary.append(_summary(found))
    # These keys are no part of the identity, so that the attack still recognises its record.
    stated = read_record(output / RECORD)
    for entry in summary:
        if entry["eps"] is None:
            continue
        for key, name in (("snr", "snr"), ("stalled_utterances", "utterances_without_gradient")):
            if entry[key]:
                table = stated.setdefault(f"{name}_{entry['method']}", {})
                table[f"{entry['eps']:g}"] = entry[key]
    write_json(output / RECORD, stated)
    return summary


def _summary(rows: Sequence[Row]) -> Row:
    ratios = [row["snr"] for row in rows if row["snr"] is not None]
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    budget = rows[0]["budget"] or {"size": 0.0, "unit": "raw", "tag": None}
    return {
        "method": rows[0]["method"],
        "eps": None if budget["unit"] == "snr" else budget["size"],
        "budget": budget["tag"],
        "utterances": len(rows),
        "source_loss": float(np.mean(losses)) if losses else None,
        "largest": max(row["linf"] for row in rows),
        "snr": float(np.mean(ratios)) if ratios else None,
        "stalled_utterances": sum(row["stalled_steps"] > 0 for row in rows),
    }
