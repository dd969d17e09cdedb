"""Scores of an attack from the rows of its log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from espnet_ext.data.files import write_json
from espnet_ext.data.kaldi import read_table
from espnet_ext.metrics import bootstrap
from espnet_ext.metrics.bootstrap import Interval
from espnet_ext.metrics.error_rate import Errors, same_text, word_errors
from espnet_ext.report.environment import environment

if TYPE_CHECKING:
    from espnet_ext.asr.recognizer import SpeechRecognizer

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

SEED = "training_seed"
Row = Mapping[str, Any]


def definitions(unit: str, several_seeds: bool = False) -> dict[str, str]:
    """The definition of each score.

    Args:
        unit: what intervals are over, "utterance" or "speaker".
        several_seeds: some models were trained more than once.
    """
    interval = DEFINITIONS["interval"].format(resamples=bootstrap.RESAMPLES, unit=unit)
    if several_seeds:
        interval += " and, independently, of training seeds, where there are several"
    return {**DEFINITIONS, "interval": f"{interval}; {bootstrap.TOO_NARROW}"}


def write_scores(
    rows: Sequence[Row],
    utt2spk: str | Path | None,
    output_dir: str | Path,
    device: str,
    recognizer: "SpeechRecognizer",
) -> None:
    """Write the `results.json` of one attack.

    Args:
        rows: of its log.
        utt2spk: file with the speakers, to resample these for the intervals.
        output_dir: of the attack.
        device: that the model ran on.
        recognizer: that was attacked.
    """
    speakers = read_table(utt2spk) if utt2spk else None
    results = {
        "definitions": definitions("speaker" if speakers else "utterance"),
        "environment": environment(device),
        "padding_error": recognizer.padding_error,
        SEED: recognizer.config.get("seed"),
        "scores": score(rows, speakers),
    }
    write_json(Path(output_dir) / "results.json", results)


def target_errors(rows: Sequence[Row]) -> list[Errors]:
    """Word errors of each row against its target."""
    return [word_errors(row["target"], row["hypothesis"]) for row in rows]


def reference_errors(rows: Sequence[Row]) -> list[Errors]:
    """Word errors of each row against its reference."""
    return [word_errors(row["reference"], row["hypothesis"]) for row in rows]


class Resampled(NamedTuple):
    """What the bootstrap draws of rows.

    Attributes:
        groups: the speaker of each row, or its utterance.
        runs: the training seed of the attacked model.
    """

    groups: list[str]
    runs: list[int]


def resampled(rows: Sequence[Row], utt2spk: Mapping[str, str] | None) -> Resampled:
    """What is drawn: speakers, or, without `utt2spk`, utterances; and training seeds."""
    names = [row["utterance"] for row in rows]
    groups = names if utt2spk is None else [utt2spk[name] for name in names]
    return Resampled(groups, [row.get(SEED, 0) for row in rows])


def interval_of(errors: Sequence[Errors], drawn: Resampled) -> Interval:
    """Error rate of a set of utterances with its interval."""
    return bootstrap.rate([e.errors for e in errors], [e.units for e in errors], *drawn)


def select(rows: Sequence[Row], budget: str, step: int) -> list[Row]:
    """Rows of one budget and number of steps, sorted by training seed and utterance."""
    chosen = [row for row in rows if row["budget"] == budget and row["step"] == step]
    return sorted(chosen, key=lambda row: (row.get(SEED, 0), row["utterance"]))


def budgets_and_steps(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Budgets in the order of the log, and the numbers of steps of each, ascending."""
    budgets = list(dict.fromkeys(row["budget"] for row in rows))
    found = {(row["budget"], row["step"]) for row in rows}
    return sorted(found, key=lambda key: (budgets.index(key[0]), key[1]))


def score(rows: Sequence[Row], utt2spk: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Scores of every budget and number of steps.

    Args:
        rows: of `attack_log.jsonl`; of several models with their `training_seed`.
        utt2spk: speaker of each utterance, to resample speakers in place of utterances.

    Returns:
        one dictionary a budget and number of steps; intervals are `[value, low, high]`.
    """
    return [
        {"budget": budget, "step": step, **_score(select(rows, budget, step), utt2spk)}
        for budget, step in budgets_and_steps(rows)
    ]


def _score(rows: Sequence[Row], utt2spk: Mapping[str, str] | None) -> dict[str, Any]:
    drawn = resampled(rows, utt2spk)
    successes = [float(same_text(row["target"], row["hypothesis"])) for row in rows]
    scores: dict[str, Any] = {
        "utterances": len({row["utterance"] for row in rows}),
        "adv_twer": interval_of(target_errors(rows), drawn),
        "success_rate": bootstrap.rate(successes, [1.0] * len(rows), *drawn),
    }
    if all(row["reference"] is not None for row in rows):
        scores["wer"] = interval_of(reference_errors(rows), drawn)
    return scores | _sizes(rows)


def _sizes(rows: Sequence[Row]) -> dict[str, Any]:
    snr = [row["snr"] for row in rows if row["snr"] is not None]
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    return {
        "snr_median": float(np.median(snr)) if snr else None,
        "snr_min": min(snr, default=None),
        "l2_median": float(np.median([row["l2"] for row in rows])),
        "l2_max": max(row["l2"] for row in rows),
        "linf_max": max(row["linf"] for row in rows),
        "loss_mean": float(np.mean(losses)) if losses else None,
        "stalled_utterances": sum(row["stalled_steps"] > 0 for row in rows),
    }
