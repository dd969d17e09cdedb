"""The results of a sweep: benign scores, scores under attack, differences to the baseline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.errors import InputError
from espnet_ext.metrics import intervals
from espnet_ext.metrics.intervals import Interval
from espnet_ext.report.conditions import Condition, baseline_of
from espnet_ext.report.scores import (
    Row,
    budgets_and_steps,
    definitions,
    groups_of,
    score,
    select,
    target_errors,
)

DIFFERENCE = (
    "adv_twer of the condition less that of the baseline on the same utterances, paired; positive: "
    "harder to attack"
)


def make_results(
    conditions: Sequence[Condition],
    utt2spk: Mapping[str, str] | None,
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that tables and figures are made from.

    Args:
        conditions: of the sweep.
        utt2spk: resample speakers in place of utterances.
        environment: of `espnet_ext.report.environment.environment`.

    Raises:
        InputError: a log is missing, or the conditions were not attacked with the same
            utterances, targets and settings.
    """
    logs = {c: read_jsonl(c.attack_dir / "attack_log.jsonl") for c in conditions}
    attacks = {c: read_json(c.attack_dir / "attack.json") for c in conditions}
    baseline = baseline_of(conditions)
    for condition in conditions:
        _check_comparable(attacks[condition], attacks[baseline], condition.attack_dir)
    unit = "speaker" if utt2spk else "utterance"
    # Of a transfer: the model that the audio was made on.
    made_on = {k: v for k, v in attacks[baseline].items() if k == "made_on"}
    return {
        "definitions": {**definitions(unit), "difference": DIFFERENCE},
        "environment": dict(environment),
        "attack": attacks[baseline]["settings"],
        **made_on,
        "attacked_utterances": attacks[baseline]["utterances"]["count"],
        "baseline": list(baseline.weights),
        "baseline_variant": baseline.variant,
        "conditions": [
            _condition_results(condition, logs[condition], logs[baseline], utt2spk)
            for condition in conditions
        ],
    }


def _check_comparable(attack: Any, baseline: Any, directory: Path) -> None:
    for key in ("settings", "utterances"):
        if attack[key] != baseline[key]:
            raise InputError(
                f"{directory}: attacked with other {key} than the baseline; repeat the attack stage"
            )


def _condition_results(
    condition: Condition,
    rows: Sequence[Row],
    baseline: Sequence[Row],
    utt2spk: Mapping[str, str] | None,
) -> dict[str, Any]:
    asr_weight, ctc_weight, inference_ctc_weight = condition.weights
    scores = score(rows, utt2spk)
    differences = {
        key: paired_difference(rows, baseline, *key, utt2spk) for key in budgets_and_steps(rows)
    }
    for entry in scores:
        entry["difference"] = differences[entry["budget"], entry["step"]]
    decoded = read_json(condition.decode_dir / "results.json")
    return {
        "heads": condition.heads,
        "variant": condition.variant,
        "asr_weight": asr_weight,
        "ctc_weight": ctc_weight,
        "inference_ctc_weight": inference_ctc_weight,
        "benign": decoded["scores"],
        "attack": scores,
    }


def paired_difference(
    rows: Sequence[Row],
    baseline: Sequence[Row],
    budget: str,
    step: int,
    utt2spk: Mapping[str, str] | None = None,
) -> Interval:
    """AdvTWER of `rows` less that of `baseline`, paired by utterance.

    Raises:
        InputError: the two logs are not of the same utterances and targets.
    """
    own, other = select(rows, budget, step), select(baseline, budget, step)
    keys = [[(row["utterance"], row["target"]) for row in side] for side in (own, other)]
    if keys[0] != keys[1]:
        raise InputError(f"{budget}, {step} steps: logs of different utterances or targets")
    errors = target_errors(own), target_errors(other)
    return intervals.rate_difference(
        ([e.errors for e in errors[0]], [e.errors for e in errors[1]]),
        ([e.units for e in errors[0]], [e.units for e in errors[1]]),
        groups_of(own, utt2spk),
    )
