"""Recognisers under attack: what is heard as one long table, and results of attacks and sweeps.

Nothing else reads a log or a transcript for numbers.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from espnet_ext.data.attack_log import (
    NOISE,
    RECORD,
    Setting,
    read_attack_log,
    read_attack_record,
)
from espnet_ext.data.attack_log import Row as LogRow
from espnet_ext.data.files import Record, read_json, write_json
from espnet_ext.data.kaldi import read_table
from espnet_ext.data.labels import MISSING_LABEL
from espnet_ext.errors import InputError, refuse
from espnet_ext.metrics import bootstrap
from espnet_ext.metrics.error_rate import Errors, character_errors, word_errors
from espnet_ext.report.comparisons import COMPARED, GAINS, correct, tested
from espnet_ext.report.conditions import SweepCondition, baseline_of, by_training_seed
from espnet_ext.report.environment import environment
from espnet_ext.report.findings import stored
from espnet_ext.report.flags import attack_flags, gradient_shares, sweep_flags
from espnet_ext.report.heard import errors_heard, words_heard
from espnet_ext.report.layout import SweepLayout
from espnet_ext.report.recognition_findings import baseline as baseline_result
from espnet_ext.report.results import (
    ATTACK,
    SWEEP,
    VERSION,
    AttackResults,
    AttackScores,
    Benign,
    ConditionResult,
    HeardBy,
    SweepResults,
)
from espnet_ext.report.table import (
    by_setting,
    columns,
    difference,
    has,
    log_table,
    measured,
    measures,
    statistic,
    success_curve,
)
from espnet_ext.victims.options import GOALS

if TYPE_CHECKING:
    from espnet_ext.asr.recognizer import SpeechRecognizer

Texts = Mapping[str, str]
Runs = Sequence[SweepCondition]  # one condition, with the models of all training seeds

REFERENCE = "reference"
"""Table of references beside `text`, where the model compares other words than those given."""
ATTACK_DEFINITIONS = {
    "adv_twer": "word errors against the adversarial target over its words, in percent; high when "
    "the attack fails (Das and Chau 2022, section 3.2)",
    "wer": "word errors against the reference over its words, in percent",
    "success_rate": "share of utterances whose transcript is exactly the target, in percent; with "
    "the goal silence, is empty; with not_reference, is not the reference",
    "snr": "energy of the signal over energy of the perturbation in dB, on the saved samples",
    "l2": "Euclidean norm of the perturbation, on the saved samples (full scale is 1)",
    "linf": "largest absolute sample of the perturbation",
    "words": "words heard rightly, substituted, deleted and inserted, of all utterances: of the "
    "alignment with the fewest errors and, of several, with the most words right",
    "heard_by": "beam: by the beam search of espnet2.bin.asr_inference on the same model and "
    "audio, without a language model; its beam of 1 lets the decoder choose alone, whatever the "
    "weight of CTC; after: by the attacked model, after the audio went through this codec; "
    "otherwise: share of utterances whose transcript is another one, in percent",
    "interval": "95 % percentile bootstrap, {resamples} resamples of {unit}s",
}
SWEEP_DEFINITIONS = {
    "difference": "adv_twer of the condition less that of the baseline on the same utterances, "
    "paired, with the training seeds that both have; positive: harder to attack",
    "wer_difference": "wer of the condition less that of the baseline without attack, paired "
    "likewise",
}


def attack_rows(
    log: Sequence[LogRow], speakers: Texts | None = None, seed: int = 0
) -> pd.DataFrame:
    """The long table of a log, see `espnet_ext.report.table`, with all that was heard.

    Args:
        log: of one setting or several.
        speakers: of each utterance, to draw these.
        seed: of training.
    """
    return log_table(log, speakers, seed, errors_heard)


def decoded_rows(
    directory: Path, data_dir: Path, speakers: Texts | None = None, seed: int = 0
) -> pd.DataFrame:
    """The long table of what `asr_inference` wrote, with all that the data directory can tell.

    Args:
        directory: with `text` and `utt2<head>`; empty transcripts count as deletions. With
            `reference` where the model compares other words than those of the data directory.
        data_dir: with `text`, `utt2<head>` or both.
        speakers: see `attack_rows`.
        seed: see `attack_rows`.

    Raises:
        InputError: an utterance has no reference, or no hypothesis; or no label is known.
    """
    texts = read_table(directory / "text", allow_empty=True)
    counts: dict[str, dict[str, Errors]] = {name: {} for name in texts}
    own = directory / REFERENCE
    if (data_dir / "text").is_file():
        for name, reference in _truth(own if own.is_file() else data_dir / "text", texts).items():
            counts[name]["wer"] = word_errors(reference, texts[name])
            counts[name]["cer"] = character_errors(reference, texts[name])
    for path in sorted(directory.glob("utt2*")):
        if not (data_dir / path.name).is_file():
            continue
        found = read_table(path)
        truth = _truth(data_dir / path.name, found)
        # Where the true label is not known, no answer is right or wrong.
        known = {name: label for name, label in truth.items() if label != MISSING_LABEL}
        if not known:
            raise InputError(f"no accuracy without a label: all {len(truth)} are '{MISSING_LABEL}'")
        for name, label in known.items():
            right = Errors(int(label == found[name]), 1)
            counts[name][f"{path.name.removeprefix('utt2')}_accuracy"] = right
    return pd.DataFrame(
        [
            {"utterance": n, "unit": speakers[n] if speakers else n, "seed": seed, **columns(of)}
            for n, of in counts.items()
        ]
    )


def _truth(path: Path, found: Texts) -> dict[str, str]:
    """The table at `path`, which has the utterances of `found` and no others."""
    truth = read_table(path)
    for one, other, what in ((found, truth, "reference"), (truth, found, "hypothesis")):
        missing = [f"utterance {name}" for name in one if name not in other]
        refuse(missing, f"no {what} for some utterances:")
    return truth


def attack_scores(
    rows: pd.DataFrame,
    baseline: pd.DataFrame | None = None,
    goal: str = GOALS[0],
) -> list[AttackScores]:
    """Scores of every setting.

    Args:
        rows: of attacks, of one model or of models that differ in the training seed.
        baseline: rows of the condition to compare with.
        goal: of the attacker, see `espnet_ext.victims.options`.

    Raises:
        InputError: see `espnet_ext.report.table.difference`.
    """
    others = {} if baseline is None else by_setting(baseline)
    scores = []
    for own, point in success_curve(rows, partial(_gain, goal)):
        entry: AttackScores = {
            **point,
            "adv_twer": measured(own, "adv_twer"),
            "snr_median": statistic(own, "snr", np.median),
            "snr_min": statistic(own, "snr", np.min),
            "l2_median": statistic(own, "l2", np.median) or 0.0,
            "l2_max": statistic(own, "l2", np.max) or 0.0,
            "linf_max": statistic(own, "linf", np.max) or 0.0,
            "target_words": words_heard(own["target"], own["hypothesis"]),
            "same_answer": 100.0 * int(own["hypothesis"].value_counts().iloc[0]) / len(own),
        }
        if has(own, "wer"):
            entry["wer"] = measured(own, "wer")
            entry["reference_words"] = words_heard(own["reference"], own["hypothesis"])
        if others_heard := _heard_by(own):
            entry["heard_by"] = others_heard
        if baseline is not None:
            where = f"{point['budget']}, {point['step']} steps"
            other = others.get(Setting(point["method"], point["budget"], point["step"]))
            draws = difference(own, other, "adv_twer", where)
            entry["difference"] = tested(entry, "difference", draws)
        scores.append(entry)
    return scores


def goal_of(settings: Record) -> str:
    """The attacker's goal, which attacks of earlier versions do not name."""
    found: str = settings.get("goal", GOALS[0] if settings.get("targeted", True) else GOALS[1])
    return found


def _gain(goal: str, rows: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Draws of how much more an attacker has of what he wants, in points."""
    if goal == GOALS[0]:
        # AdvTWER falls where a targeted attack gets better.
        return -difference(rows, others, "adv_twer")
    errors = goal == GOALS[1] and has(rows, "wer") and has(others, "wer")
    return difference(rows, others, "wer" if errors else "success_rate")


def _heard_by(rows: pd.DataFrame) -> dict[str, HeardBy]:
    """The measures of every other listener, by name, see `espnet_ext.report.heard`."""
    found: dict[str, HeardBy] = {}
    # What others have heard is called "<measure> <listener>".
    for name in (name for name in measures(rows) if " " in name and has(rows, name)):
        measure, who = name.split(" ", 1)
        found.setdefault(who, {}).update({measure: measured(rows, name)})  # type: ignore[misc]
    return found


def benign_scores(rows: pd.DataFrame) -> Benign:
    """Scores without attack of everything that was measured, training seeds pooled."""
    count = rows["utterance"].nunique()
    return {"utterances": count, **{name: measured(rows, name) for name in measures(rows)}}


def definitions(unit: str, several_seeds: bool = False) -> dict[str, str]:
    """The definition of each score.

    Args:
        unit: what intervals are over, "utterance" or "speaker".
        several_seeds: some models were trained more than once.
    """
    interval = ATTACK_DEFINITIONS["interval"].format(resamples=bootstrap.RESAMPLES, unit=unit)
    if several_seeds:
        interval += " and, independently, of training seeds, where there are several"
    told = {"interval": f"{interval}; {bootstrap.TOO_NARROW}"}
    return {**ATTACK_DEFINITIONS, **told, **COMPARED}


def write_attack_results(
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
    record = read_attack_record(Path(output_dir) / RECORD)
    results = attack_results(log, record, utt2spk, environment(device))
    results["padding_error"] = recognizer.padding_error
    results["training_seed"] = recognizer.config.get("seed")
    write_json(Path(output_dir) / "results.json", results)


def attack_results(
    log: Sequence[LogRow], record: Record, utt2spk: str | Path | None, environment: Record
) -> AttackResults:
    """The results of one attack, without what only the model itself can tell.

    Args:
        log: its rows.
        record: attack.json, see `read_attack_record`.
        utt2spk: see `write_attack_results`.
        environment: that it was made in.
    """
    speakers = read_table(utt2spk) if utt2spk else None
    scores = attack_scores(attack_rows(log, speakers), goal=goal_of(record["settings"]))
    for name in GAINS:
        correct(scores, name)
    results: AttackResults = {
        "kind": ATTACK,
        "version": VERSION,
        "definitions": definitions("speaker" if speakers else "utterance"),
        "environment": environment,
        "training_seed": None,
        "scores": scores,
    }
    # Of a transfer the record is that of the attack, on another model.
    if "made_on" not in record and (checked := gradient_shares([record])):
        results["gradient_check"] = checked
    results["flags"] = stored(attack_flags(results, record))
    return results


def make_results(
    conditions: Sequence[SweepCondition],
    data_dir: str | Path,
    environment: Record,
    by_speaker: bool = False,
    layout: SweepLayout | None = None,
) -> SweepResults:
    """Everything that tables and figures of a sweep are made from.

    Args:
        conditions: of the sweep; those that differ in the training seed alone are pooled.
        data_dir: the test set, with what there is of text, utt2spk and utt2<head>.
        environment: of `espnet_ext.report.environment.environment`.
        by_speaker: draw speakers in place of utterances.
        layout: tables and curves that the recipe wants.

    Raises:
        InputError: a log is missing, the conditions were not attacked with the same utterances,
            targets and settings, or one has no training seed in common with the baseline.
    """
    data_dir = Path(data_dir)
    speakers = read_table(data_dir / "utt2spk") if by_speaker else None
    runs = by_training_seed(conditions)
    attacks = {c: read_attack_record(c.attack_dir / RECORD) for c in conditions}
    baseline = baseline_of([run[0] for run in runs])
    attack = attacks[baseline]
    for condition, other in attacks.items():  # else attacks are compared, and not models
        for key in ("settings", "utterances"):
            if other[key] != attack[key]:
                raise InputError(
                    f"{condition.attack_dir}: attacked with other {key} than the baseline; repeat "
                    "the attack stage"
                )

    # Of the code that attacked; the report's own is in its environment.
    attacked = [path for c in conditions if (path := c.attack_dir / "results.json").is_file()]
    commits = [read_json(path)["environment"]["commit"] for path in attacked]
    of_baseline = next(run for run in runs if run[0] == baseline)
    compared = _both_rows(of_baseline, data_dir, speakers)
    unit, several = "speaker" if by_speaker else "utterance", any(len(run) > 1 for run in runs)
    results: SweepResults = {
        "kind": SWEEP,
        "version": VERSION,
        "definitions": definitions(unit, several) | SWEEP_DEFINITIONS,
        "environment": dict(environment),
        "layout": layout or {},
        "attack": attack["settings"],
        "attack_commits": sorted({commit for commit in commits if commit}),
        "attacked_utterances": attack["utterances"]["count"],
        "baseline": list(baseline.weights),
        "baseline_variant": baseline.variant,
        "conditions": [
            _condition(run, _both_rows(run, data_dir, speakers), compared, attacks) for run in runs
        ],
    }
    if "made_on" in attack:
        results["made_on"] = attack["made_on"]
    compare(results)
    results["flags"] = stored(sweep_flags(results))
    return results


def compare(results: SweepResults) -> None:
    """Put Holm's correction into a sweep, for all comparisons of each kind."""
    others = [c for c in results["conditions"] if c is not baseline_result(results)]
    correct(others, "wer_difference")
    entries = [entry for c in others for entry in c["attack"] if entry["step"]]
    # Noise is a control, and no attack whose differences are asked about.
    correct([entry for entry in entries if entry["method"] != NOISE], "difference")
    for name in GAINS:
        correct([entry for c in results["conditions"] for entry in c["attack"]], name)


def _both_rows(
    run: Runs, data_dir: Path, speakers: Mapping[str, str] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Under attack, and without, of the models of a condition."""
    logs = {c.seed or 0: read_attack_log(c.attack_dir) for c in run}
    heard = [decoded_rows(c.decode_dir, data_dir, speakers, c.seed or 0) for c in run]
    attacked = [attack_rows(log, speakers, seed) for seed, log in logs.items()]
    return pd.concat(attacked, ignore_index=True), pd.concat(heard, ignore_index=True)


def _condition(
    run: Runs,
    rows: tuple[pd.DataFrame, pd.DataFrame],
    baseline: tuple[pd.DataFrame, pd.DataFrame],
    attacks: Mapping[SweepCondition, Record],
) -> ConditionResult:
    """Results of a condition.

    Args:
        run: the condition.
        rows: of it under attack, and without.
        baseline: likewise.
        attacks: attack.json of each.
    """
    benign, goal = benign_scores(rows[1]), goal_of(attacks[run[0]]["settings"])
    asr_weight, ctc_weight, inference_ctc_weight = run[0].weights
    found: ConditionResult = {
        "heads": run[0].heads,
        "variant": run[0].variant,
        "asr_weight": asr_weight,
        "ctc_weight": ctc_weight,
        "inference_ctc_weight": inference_ctc_weight,
        "training_seeds": None if run[0].seed is None else [c.seed or 0 for c in run],
        "attack": attack_scores(rows[0], baseline[0], goal),
        "benign": benign,
    }
    records = [attacks[c] for c in run]
    # Of a transfer the record is that of the attack, on another model.
    if "made_on" not in records[0] and (checked := gradient_shares(records)):
        found["gradient_check"] = checked
    if "wer" in benign:
        draws = difference(rows[1], baseline[1], "wer")
        benign["wer_difference"] = tested(found, "wer_difference", draws)
    return found
