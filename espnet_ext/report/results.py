"""The recognition half in one long table, its measures, and the records of results.json.

A row is one utterance, heard by the model of one training seed, under one attack or none. Every
measure is a ratio of two sums over rows, so that one bootstrap has all intervals. Nothing else
reads a log or a transcript for numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

import numpy as np

from espnet_ext.data.attack_log import Row as LogRow
from espnet_ext.data.attack_log import Setting, rows_by_setting
from espnet_ext.data.files import write_json
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.labels import MISSING_LABEL
from espnet_ext.errors import InputError, refuse
from espnet_ext.metrics import bootstrap
from espnet_ext.metrics.bootstrap import Interval
from espnet_ext.metrics.error_rate import Errors, character_errors, same_text, word_errors
from espnet_ext.report.environment import environment

if TYPE_CHECKING:
    from espnet_ext.asr.recognizer import SpeechRecognizer

ATTACK: Literal["recognition_attack"] = "recognition_attack"
SWEEP: Literal["recognition_sweep"] = "recognition_sweep"
VERSION = 1
SEED = "training_seed"
Numbers = Sequence[float | None]
Texts = Mapping[str, str]

DEFINITIONS = {
    "adv_twer": "word errors against the adversarial target over its words, in percent; high when "
    "the attack fails (Das and Chau 2022, section 3.2)",
    "wer": "word errors against the reference over its words, in percent",
    "success_rate": "share of utterances whose transcript is exactly the target, in percent; with "
    "the goal silence, is empty; with not_reference, is not the reference",
    "snr": "energy of the signal over energy of the perturbation in dB, on the saved samples",
    "l2": "Euclidean norm of the perturbation, on the saved samples (full scale is 1)",
    "linf": "largest absolute sample of the perturbation",
    "interval": "95 % percentile bootstrap, {resamples} resamples of {unit}s",
}


class AttackScores(TypedDict, total=False):
    """Scores of one setting; intervals are value, low, high.

    `wer` is there where all utterances have a reference, `difference` where there is a baseline.
    """

    method: str
    budget: str
    step: int
    utterances: int
    adv_twer: Numbers
    success_rate: Numbers
    wer: Numbers
    snr_median: float | None
    snr_min: float | None
    l2_median: float
    l2_max: float
    linf_max: float
    loss_mean: float | None
    stalled_utterances: int
    difference: Numbers


class Benign(TypedDict, total=False):
    """Scores without attack, of all test utterances; one further `<head>_accuracy` a head."""

    utterances: int
    wer: Numbers
    cer: Numbers
    wer_difference: Numbers


class ConditionResult(TypedDict):
    """One condition of a sweep: a model and its weight of CTC at inference."""

    heads: str
    variant: str
    asr_weight: float
    ctc_weight: float
    inference_ctc_weight: float
    training_seeds: list[int] | None
    attack: list[AttackScores]
    benign: Benign


class Settings(TypedDict, total=False):
    """What reports say of the settings of an attack; attack.json has all of them."""

    norm: float | str
    eps_step: float
    targeted: bool
    goal: str
    seed: int


class _Made(TypedDict):
    kind: str
    version: int
    definitions: dict[str, str]
    environment: dict[str, Any]


class AttackResults(_Made):
    """results.json of `asr_attack` and `asr_transfer`."""

    padding_error: float
    training_seed: int | None
    scores: list[AttackScores]


class _Optional(TypedDict, total=False):
    made_on: dict[str, Any]
    overlap: dict[str, Any]


class SweepResults(_Made, _Optional):
    """results.json of `asr_report`; of a transfer with `made_on`, the model of the audio."""

    attack: Settings
    attack_commits: list[str]
    attacked_utterances: int
    baseline: list[float]
    baseline_variant: str
    conditions: list[ConditionResult]


class Row(NamedTuple):
    """A row of the long table.

    Attributes:
        utterance: its id.
        unit: what the bootstrap draws: its speaker, or itself.
        seed: training seed of the model.
        target: what the attacker wants to be heard; empty without attack.
        setting: what was done to it; None of the whole test set without attack.
        counts: of each measure what is counted, and over how much.
        sizes: of the perturbation, and the loss, as the log has them.
    """

    utterance: str
    unit: str
    seed: int
    target: str
    setting: Setting | None
    counts: dict[str, Errors]
    sizes: LogRow


def attack_rows(log: Sequence[LogRow], speakers: Texts | None = None, seed: int = 0) -> list[Row]:
    """Rows of a log.

    Args:
        log: of one setting or several.
        speakers: of each utterance, to draw these.
        seed: of training.
    """
    rows = []
    for setting, same in rows_by_setting(log).items():
        for row in same:
            name, reference, target, heard = (
                row[key] for key in ("utterance", "reference", "target", "hypothesis")
            )
            counts = {
                "adv_twer": word_errors(target, heard),
                "success_rate": Errors(int(row.get("reached", same_text(target, heard))), 1),
            }
            if reference is not None:
                counts["wer"] = word_errors(reference, heard)
            unit = speakers[name] if speakers else name
            rows.append(Row(name, unit, seed, target, setting, counts, row))
    return rows


def decoded_rows(
    directory: Path, data_dir: Path, speakers: Texts | None = None, seed: int = 0
) -> list[Row]:
    """Rows of what `asr_inference` wrote, with all measures that the data directory allows.

    Args:
        directory: with `text` and `utt2<head>`; empty transcripts count as deletions.
        data_dir: with `text`, `utt2<head>` or both.
        speakers: see `attack_rows`.
        seed: see `attack_rows`.

    Raises:
        InputError: an utterance has no reference, or no hypothesis; or no label is known.
    """
    texts = read_table(directory / "text", allow_empty=True)
    rows = {n: Row(n, speakers[n] if speakers else n, seed, "", None, {}, {}) for n in texts}
    if (data_dir / "text").is_file():
        for name, reference in _truth(data_dir / "text", texts).items():
            rows[name].counts["wer"] = word_errors(reference, texts[name])
            rows[name].counts["cer"] = character_errors(reference, texts[name])
    for path in sorted(directory.glob("utt2*")):
        if not (data_dir / path.name).is_file():
            continue
        found = read_table(path)
        truth = _truth(data_dir / path.name, found)
        known = {name: label for name, label in truth.items() if label != MISSING_LABEL}
        if not known:
            raise InputError(f"no accuracy without a label: all {len(truth)} are '{MISSING_LABEL}'")
        for name, label in known.items():
            right = Errors(int(label == found[name]), 1)
            rows[name].counts[f"{path.name.removeprefix('utt2')}_accuracy"] = right
    return list(rows.values())


def _truth(path: Path, found: Texts) -> dict[str, str]:
    truth = read_table(path)
    for one, other, what in ((found, truth, "reference"), (truth, found, "hypothesis")):
        missing = [f"utterance {name}" for name in one if name not in other]
        refuse(missing, f"no {what} for some utterances:")
    return truth


def rate(rows: Sequence[Row], measure: str) -> Interval:
    """A measure over the rows that have it, with its interval."""
    rows = [row for row in rows if measure in row.counts]
    return bootstrap.rate(*_counts(rows, measure), *_drawn(rows))


def difference(
    rows: Sequence[Row], baseline: Sequence[Row], measure: str, where: str = "without attack"
) -> Interval:
    """A measure less that of a baseline, paired by utterance, of the seeds that both have.

    Args:
        rows: of one setting.
        baseline: likewise.
        measure: that all rows have.
        where: the setting, for messages.

    Raises:
        InputError: the two are not of the same utterances and targets, or have no training seed
            in common.
    """
    seeds = {row.seed for row in rows} & {row.seed for row in baseline}
    if not seeds:
        raise InputError("a condition and the baseline have no training seed in common")
    own, other = (
        sorted((row for row in side if row.seed in seeds), key=lambda r: (r.seed, r.utterance))
        for side in (rows, baseline)
    )
    if [row[:4] for row in own] != [row[:4] for row in other]:
        raise InputError(
            f"{where}: the condition and the baseline are of different utterances or targets; "
            "repeat that stage"
        )
    counts, over = zip(_counts(own, measure), _counts(other, measure), strict=True)
    return bootstrap.rate_difference(counts, over, *_drawn(own))


def _counts(rows: Sequence[Row], measure: str) -> tuple[list[float], list[float]]:
    errors = [row.counts[measure] for row in rows]
    return [e.errors for e in errors], [e.units for e in errors]


def _drawn(rows: Sequence[Row]) -> tuple[list[str], list[int]]:
    return [row.unit for row in rows], [row.seed for row in rows]


def by_attack(rows: Sequence[Row]) -> dict[Setting, list[Row]]:
    """Rows of each setting, in the order of the log, sorted by training seed and utterance."""
    found: dict[Setting, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.seed, row.utterance)):
        if row.setting is not None:
            found.setdefault(row.setting, []).append(row)
    return {row.setting: found[row.setting] for row in rows if row.setting is not None}


def score(rows: Sequence[Row], baseline: Sequence[Row] | None = None) -> list[AttackScores]:
    """Scores of every setting.

    Args:
        rows: of attacks, of one model or of models that differ in the training seed.
        baseline: rows of the condition to compare with.

    Raises:
        InputError: see `difference`.
    """
    others = by_attack(baseline) if baseline is not None else {}
    scores = []
    for setting, own in by_attack(rows).items():
        entry: AttackScores = {
            "method": setting.method,
            "budget": setting.budget,
            "step": setting.step,
            "utterances": len({row.utterance for row in own}),
            "adv_twer": rate(own, "adv_twer"),
            "success_rate": rate(own, "success_rate"),
        }
        if all("wer" in row.counts for row in own):
            entry["wer"] = rate(own, "wer")
        entry.update(_sizes([row.sizes for row in own]))
        if baseline is not None:
            where = f"{setting.budget}, {setting.step} steps"
            entry["difference"] = difference(own, others.get(setting, []), "adv_twer", where)
        scores.append(entry)
    return scores


def _sizes(rows: Sequence[LogRow]) -> AttackScores:
    def _statistic(key: str, of: Callable[[list[float]], Any]) -> float | None:
        values = [row[key] for row in rows if row[key] is not None]
        return float(of(values)) if values else None

    return {
        "snr_median": _statistic("snr", np.median),
        "snr_min": _statistic("snr", min),
        "l2_median": _statistic("l2", np.median) or 0.0,
        "l2_max": _statistic("l2", max) or 0.0,
        "linf_max": _statistic("linf", max) or 0.0,
        "loss_mean": _statistic("loss", np.mean),
        "stalled_utterances": sum(row["stalled_steps"] > 0 for row in rows),
    }


def score_decoded(rows: Sequence[Row]) -> Benign:
    """Scores without attack of everything that was measured, training seeds pooled."""
    measures = dict.fromkeys(name for row in rows for name in row.counts)
    found: Any = {name: rate(rows, name) for name in measures}
    scores: Benign = {"utterances": len({row.utterance for row in rows}), **found}
    return scores


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
    log: Sequence[LogRow],
    utt2spk: str | Path | None,
    output_dir: str | Path,
    device: str,
    recognizer: "SpeechRecognizer",
) -> None:
    """Write the `results.json` of one attack.

    Args:
        log: its rows.
        utt2spk: file with the speakers, to draw these for the intervals.
        output_dir: of the attack.
        device: that the model ran on.
        recognizer: that was attacked.
    """
    speakers = read_table(utt2spk) if utt2spk else None
    results: AttackResults = {
        "kind": ATTACK,
        "version": VERSION,
        "definitions": definitions("speaker" if speakers else "utterance"),
        "environment": environment(device),
        "padding_error": recognizer.padding_error,
        "training_seed": recognizer.config.get("seed"),
        "scores": score(attack_rows(log, speakers)),
    }
    write_json(Path(output_dir) / "results.json", results)
