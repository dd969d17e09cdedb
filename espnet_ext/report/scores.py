"""Scores of an attack from the rows of its log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_ext.data.files import write_json
from espnet_ext.data.kaldi import read_table
from espnet_ext.metrics import intervals
from espnet_ext.metrics.error_rate import Errors, same_text, word_errors
from espnet_ext.metrics.intervals import Interval
from espnet_ext.report.environment import environment

DEFINITIONS = {
    "adv_twer": "word errors against the adversarial target over its words, in percent; high when "
    "the attack fails (Das and Chau 2022, section 3.2)",
    "wer": "word errors against the reference over its words, in percent",
    "success_rate": "share of utterances whose transcript is exactly the target, in percent",
    "snr": "energy of the signal over energy of the perturbation in dB, on the saved samples",
    "l2": "Euclidean norm of the perturbation, on the saved samples (full scale is 1)",
    "linf": "largest absolute sample of the perturbation",
    "interval": "95 % percentile bootstrap, {resamples} resamples of {unit}s",
}

Row = Mapping[str, Any]


def definitions(unit: str) -> dict[str, str]:
    """The definition of each score, for intervals over `unit` ("utterance" or "speaker")."""
    interval = DEFINITIONS["interval"].format(resamples=intervals.RESAMPLES, unit=unit)
    return {**DEFINITIONS, "interval": interval}


def write_scores(
    rows: Sequence[Row],
    utt2spk: str | Path | None,
    output_dir: str | Path,
    device: str,
    padding_error: float,
) -> None:
    """Write the `results.json` of one attack.

    Args:
        rows: of its log.
        utt2spk: file with the speakers, to resample these for the intervals.
        output_dir: of the attack.
        device: that the model ran on.
        padding_error: of the model, see `SpeechRecognizer`.
    """
    speakers = read_table(utt2spk) if utt2spk else None
    results = {
        "definitions": definitions("speaker" if speakers else "utterance"),
        "environment": environment(device),
        "padding_error": padding_error,
        "scores": score(rows, speakers),
    }
    write_json(Path(output_dir) / "results.json", results)


def target_errors(rows: Sequence[Row]) -> list[Errors]:
    """Word errors of each row against its target."""
    return [word_errors(row["target"], row["hypothesis"]) for row in rows]


def reference_errors(rows: Sequence[Row]) -> list[Errors]:
    """Word errors of each row against its reference."""
    return [word_errors(row["reference"], row["hypothesis"]) for row in rows]


def interval_of(errors: Sequence[Errors], groups: Sequence[str] | None) -> Interval:
    """Error rate of a set of utterances with its interval."""
    return intervals.rate([e.errors for e in errors], [e.units for e in errors], groups)


def groups_of(rows: Sequence[Row], utt2spk: Mapping[str, str] | None) -> list[str] | None:
    """What is resampled: the speaker of each row, or, without `utt2spk`, the rows themselves."""
    return None if utt2spk is None else [utt2spk[row["utterance"]] for row in rows]


def select(rows: Sequence[Row], budget: str, step: int) -> list[Row]:
    """Rows of one budget and number of steps, sorted by utterance."""
    chosen = [row for row in rows if row["budget"] == budget and row["step"] == step]
    return sorted(chosen, key=lambda row: row["utterance"])


def budgets_and_steps(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Budgets in the order of the log, and the numbers of steps of each, ascending."""
    budgets = list(dict.fromkeys(row["budget"] for row in rows))
    found = {(row["budget"], row["step"]) for row in rows}
    return sorted(found, key=lambda key: (budgets.index(key[0]), key[1]))


def score(rows: Sequence[Row], utt2spk: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Scores of every budget and number of steps.

    Args:
        rows: of `attack_log.jsonl`.
        utt2spk: speaker of each utterance, to resample speakers in place of utterances.

    Returns:
        one dictionary a budget and number of steps; intervals are `[value, low, high]`.
    """
    return [
        {"budget": budget, "step": step, **_score(select(rows, budget, step), utt2spk)}
        for budget, step in budgets_and_steps(rows)
    ]


def _score(rows: Sequence[Row], utt2spk: Mapping[str, str] | None) -> dict[str, Any]:
    groups = groups_of(rows, utt2spk)
    successes = [float(same_text(row["target"], row["hypothesis"])) for row in rows]
    scores: dict[str, Any] = {
        "utterances": len(rows),
        "adv_twer": interval_of(target_errors(rows), groups),
        "success_rate": intervals.rate(successes, [1.0] * len(rows), groups),
    }
    if all(row["reference"] is not None for row in rows):
        scores["wer"] = interval_of(reference_errors(rows), groups)
    return scores | _sizes(rows)


def _sizes(rows: Sequence[Row]) -> dict[str, Any]:
    snr = [row["snr"] for row in rows if row["snr"] is not None]
    return {
        "snr_median": float(np.median(snr)) if snr else None,
        "snr_min": min(snr, default=None),
        "l2_median": float(np.median([row["l2"] for row in rows])),
        "l2_max": max(row["l2"] for row in rows),
        "linf_max": max(row["linf"] for row in rows),
        "loss_mean": float(np.mean([row["loss"] for row in rows])),
        "stalled_utterances": sum(row["stalled_steps"] > 0 for row in rows),
    }
