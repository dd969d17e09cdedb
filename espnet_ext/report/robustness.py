"""The results of a sweep: benign scores, scores under attack, differences to the baseline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.attack_log import (
    RECORD,
    read_attack_log,
    read_attack_record,
    rows_of_method,
)
from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError
from espnet_ext.metrics import bootstrap
from espnet_ext.metrics.bootstrap import Interval
from espnet_ext.report.conditions import Condition, baseline_of, by_training_seed
from espnet_ext.report.recognition import score_decoded, wer_difference
from espnet_ext.report.scores import (
    SEED,
    Row,
    budgets_and_steps,
    definitions,
    resampled,
    score,
    select,
    target_errors,
)

DIFFERENCE = (
    "adv_twer of the condition less that of the baseline on the same utterances, paired, with the "
    "training seeds that both have; positive: harder to attack"
)
WER_DIFFERENCE = "wer of the condition less that of the baseline without attack, paired likewise"


def make_results(
    conditions: Sequence[Condition],
    data_dir: str | Path,
    environment: Mapping[str, Any],
    by_speaker: bool = False,
) -> dict[str, Any]:
    """Everything that tables and figures are made from.

    Args:
        conditions: of the sweep; those that differ in the training seed alone are pooled.
        data_dir: the test set, with what there is of text, utt2spk and utt2<head>.
        environment: of `espnet_ext.report.environment.environment`.
        by_speaker: resample speakers in place of utterances.

    Raises:
        InputError: a log is missing, the conditions were not attacked with the same utterances,
            targets and settings, or one has no training seed in common with the baseline.
    """
    data_dir = Path(data_dir)
    utt2spk = read_table(data_dir / "utt2spk") if by_speaker else None
    runs = by_training_seed(conditions)
    attacks = {c: read_attack_record(c.attack_dir / RECORD) for c in conditions}
    baseline = baseline_of([run[0] for run in runs])
    for condition in conditions:
        _check_comparable(attacks[condition], attacks[baseline], condition.attack_dir)
    logs = {run[0]: _read_logs(run) for run in runs}
    baselines = next(run for run in runs if run[0] == baseline)
    unit = "speaker" if by_speaker else "utterance"
    # Of a transfer: the model that the audio was made on.
    made_on = {k: v for k, v in attacks[baseline].items() if k == "made_on"}
    return {
        "definitions": definitions(unit, any(len(run) > 1 for run in runs))
        | {"difference": DIFFERENCE, "wer_difference": WER_DIFFERENCE},
        "environment": dict(environment),
        "attack": attacks[baseline]["settings"],
        "attack_commits": _commits(conditions),
        **made_on,
        "attacked_utterances": attacks[baseline]["utterances"]["count"],
        "baseline": list(baseline.weights),
        "baseline_variant": baseline.variant,
        "conditions": [
            _condition_results(run, logs[run[0]], logs[baseline], utt2spk)
            | {"benign": _benign(run, baselines, data_dir, by_speaker)}
            for run in runs
        ],
    }


def _commits(conditions: Sequence[Condition]) -> list[str]:
    """Of the code that attacked; of the report's own, see its environment."""
    paths = [condition.attack_dir / "results.json" for condition in conditions]
    found = [read_json(path)["environment"]["commit"] for path in paths if path.is_file()]
    return sorted({commit for commit in found if commit})


def _read_logs(run: Sequence[Condition]) -> list[Row]:
    """Rows of the models of all training seeds, with their seed."""
    return [
        {**row, SEED: condition.seed or 0}
        for condition in run
        for row in rows_of_method(read_attack_log(condition.attack_dir))
    ]


def _benign(
    run: Sequence[Condition], baseline: Sequence[Condition], data_dir: Path, by_speaker: bool
) -> dict[str, Any]:
    """Scores without attack, and whether the baseline has a like WER."""
    own, other = ({c.seed or 0: c.decode_dir for c in side} for side in (run, baseline))
    scores = score_decoded(list(own.values()), data_dir, by_speaker)
    if "wer" in scores:
        scores["wer_difference"] = wer_difference(own, other, data_dir, by_speaker)
    return scores


def _check_comparable(attack: Any, baseline: Any, directory: Path) -> None:
    for key in ("settings", "utterances"):
        if attack[key] != baseline[key]:
            raise InputError(
                f"{directory}: attacked with other {key} than the baseline; repeat the attack stage"
            )


def _condition_results(
    run: Sequence[Condition],
    rows: Sequence[Row],
    baseline: Sequence[Row],
    utt2spk: Mapping[str, str] | None,
) -> dict[str, Any]:
    condition = run[0]
    asr_weight, ctc_weight, inference_ctc_weight = condition.weights
    scores = score(rows, utt2spk)
    differences = {
        key: paired_difference(rows, baseline, *key, utt2spk) for key in budgets_and_steps(rows)
    }
    for entry in scores:
        entry["difference"] = differences[entry["budget"], entry["step"]]
    return {
        "heads": condition.heads,
        "variant": condition.variant,
        "asr_weight": asr_weight,
        "ctc_weight": ctc_weight,
        "inference_ctc_weight": inference_ctc_weight,
        "training_seeds": None if condition.seed is None else [c.seed for c in run],
        "attack": scores,
    }


def paired_difference(
    rows: Sequence[Row],
    baseline: Sequence[Row],
    budget: str,
    step: int,
    utt2spk: Mapping[str, str] | None = None,
) -> Interval:
    """AdvTWER of `rows` less that of `baseline`, paired by utterance and training seed.

    Raises:
        InputError: the two logs are not of the same utterances and targets, or have no training
            seed in common.
    """
    seeds = {row.get(SEED, 0) for row in rows} & {row.get(SEED, 0) for row in baseline}
    if not seeds:
        raise InputError("a condition and the baseline have no training seed in common")
    own, other = (
        [row for row in select(side, budget, step) if row.get(SEED, 0) in seeds]
        for side in (rows, baseline)
    )
    keys = [[(row["utterance"], row["target"]) for row in side] for side in (own, other)]
    if keys[0] != keys[1]:
        raise InputError(f"{budget}, {step} steps: logs of different utterances or targets")
    errors = target_errors(own), target_errors(other)
    return bootstrap.rate_difference(
        ([e.errors for e in errors[0]], [e.errors for e in errors[1]]),
        ([e.units for e in errors[0]], [e.units for e in errors[1]]),
        *resampled(own, utt2spk),
    )
