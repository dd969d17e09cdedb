"""The results of a sweep: benign scores, scores under attack, differences to the baseline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.attack_log import RECORD, read_attack_log, read_attack_record
from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError
from espnet_ext.report.conditions import Condition, baseline_of, by_training_seed
from espnet_ext.report.results import (
    SWEEP,
    VERSION,
    ConditionResult,
    Row,
    SweepResults,
    attack_rows,
    decoded_rows,
    definitions,
    difference,
    score,
    score_decoded,
)

DIFFERENCE = (
    "adv_twer of the condition less that of the baseline on the same utterances, paired, with the "
    "training seeds that both have; positive: harder to attack"
)
WER_DIFFERENCE = "wer of the condition less that of the baseline without attack, paired likewise"
Runs = Sequence[Condition]  # one condition, with the models of all training seeds


def make_results(
    conditions: Sequence[Condition],
    data_dir: str | Path,
    environment: Mapping[str, Any],
    by_speaker: bool = False,
) -> SweepResults:
    """Everything that tables and figures are made from.

    Args:
        conditions: of the sweep; those that differ in the training seed alone are pooled.
        data_dir: the test set, with what there is of text, utt2spk and utt2<head>.
        environment: of `espnet_ext.report.environment.environment`.
        by_speaker: draw speakers in place of utterances.

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
    _check_comparable(attacks, attack)

    def _under_attack(run: Runs) -> list[Row]:
        logs = {c.seed or 0: read_attack_log(c.attack_dir) for c in run}
        return [row for seed, log in logs.items() for row in attack_rows(log, speakers, seed)]

    def _without_attack(run: Runs) -> list[Row]:
        found = [decoded_rows(c.decode_dir, data_dir, speakers, c.seed or 0) for c in run]
        return [row for rows in found for row in rows]

    compared = next(run for run in runs if run[0] == baseline)
    attacked, heard = _under_attack(compared), _without_attack(compared)
    results: SweepResults = {
        "kind": SWEEP,
        "version": VERSION,
        "definitions": definitions(
            "speaker" if by_speaker else "utterance", any(len(run) > 1 for run in runs)
        )
        | {"difference": DIFFERENCE, "wer_difference": WER_DIFFERENCE},
        "environment": dict(environment),
        "attack": attack["settings"],
        "attack_commits": _commits(conditions),
        "attacked_utterances": attack["utterances"]["count"],
        "baseline": list(baseline.weights),
        "baseline_variant": baseline.variant,
        "conditions": [
            _condition(run, (_under_attack(run), attacked), (_without_attack(run), heard))
            for run in runs
        ],
    }
    if "made_on" in attack:
        results["made_on"] = attack["made_on"]
    return results


def _check_comparable(
    attacks: Mapping[Condition, Mapping[str, Any]], baseline: Mapping[str, Any]
) -> None:
    for condition, attack in attacks.items():
        for key in ("settings", "utterances"):
            if attack[key] != baseline[key]:
                raise InputError(
                    f"{condition.attack_dir}: attacked with other {key} than the baseline; repeat "
                    "the attack stage"
                )


def _condition(
    run: Runs, attacked: tuple[list[Row], list[Row]], heard: tuple[list[Row], list[Row]]
) -> ConditionResult:
    """Results of a condition, from its rows and those of the baseline."""
    benign = score_decoded(heard[0])
    if "wer" in benign:
        benign["wer_difference"] = difference(*heard, "wer")
    asr_weight, ctc_weight, inference_ctc_weight = run[0].weights
    return {
        "heads": run[0].heads,
        "variant": run[0].variant,
        "asr_weight": asr_weight,
        "ctc_weight": ctc_weight,
        "inference_ctc_weight": inference_ctc_weight,
        "training_seeds": None if run[0].seed is None else [c.seed or 0 for c in run],
        "attack": score(*attacked),
        "benign": benign,
    }


def _commits(conditions: Sequence[Condition]) -> list[str]:
    """Of the code that attacked; of the report's own, see its environment."""
    paths = [condition.attack_dir / "results.json" for condition in conditions]
    found = [read_json(path)["environment"]["commit"] for path in paths if path.is_file()]
    return sorted({commit for commit in found if commit})
