"""Robustness cards of attacked speech recognizers."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from espnet_ext.data.attack_log import NOISE, PGD
from espnet_ext.report.card_parts import RECOGNITION, make_card, metrics
from espnet_ext.report.experiments import Entry, Experiment
from espnet_ext.report.findings import attack_cautions, sentence, sweep_cautions
from espnet_ext.report.results import (
    SEED,
    AttackResults,
    AttackScores,
    Benign,
    ConditionResult,
    Settings,
    SweepResults,
)
from espnet_ext.report.tables import weights

UNDER_ATTACK = ("wer", "adv_twer", "success_rate")
DEFINITIONS = {
    "cer": "character errors against the reference over its characters, in percent",
}
ACCURACY = "share of utterances whose {head} is recognised, in percent"
NO_CONTROL = "noise of the same size as the attack, as a control"
ONE_SEED = "other training seeds: this is one trained model"
ONE_BOX = (
    "black-box attacks and transfer from other models: the attacker has this model",
    "attackers of another loss than that of inference, or of heads that inference leaves out",
)


def sweep_cards(results: SweepResults) -> list[Entry]:
    """A card for each condition of a sweep, a model with its weight of CTC at inference.

    Args:
        results: of `asr_report`; of a transfer there are none, it says little of a model.
    """
    return [
        _card(
            model_of(
                condition_name(condition),
                f"{condition['heads']}, {weights(condition)}",
                condition.get("training_seeds"),
            ),
            condition["benign"],
            condition["attack"],
            results["attack"],
            results,
            [sentence(f) for f in sweep_cautions(results, condition, [condition])],
        )
        for condition in results["conditions"]
        if any(entry["step"] for entry in condition["attack"]) and "made_on" not in results
    ]


def condition_name(condition: ConditionResult) -> str:
    """Name of a condition after its weights and variant, e.g. "la1_lc0.5_li0_entropy0.3"."""
    weights = (
        f"la{condition['asr_weight']:g}_lc{condition['ctc_weight']:g}"
        f"_li{condition['inference_ctc_weight']:g}"
    )
    return "_".join([weights, *filter(None, [condition.get("variant")])])


def model_of(
    name: str,
    description: str,
    seeds: Sequence[int] | None,
    files: Mapping[str, str] | None = None,
) -> Entry:
    """The block that says which model it is, or which models of several training seeds."""
    return {
        "name": name,
        "task": RECOGNITION,
        "description": description,
        "training_seeds": seeds,
        "files": dict(files or {}),
    }


def attack_card(experiment: Experiment) -> list[Entry]:
    """The card of one attacked model; empty where nothing was attacked.

    Args:
        experiment: of `asr_attack`; of a transfer there is none.
    """
    scores, attack = experiment.results["scores"], experiment.attack()
    if "made_on" in attack or not any(entry["step"] for entry in scores):
        return []
    files = attack.get("model", {})
    # The directory of the model names it, as recipes name directories.
    place = PurePath(files["config"]["path"]).parent.name if "config" in files else ""
    weight = attack.get("ctc_weight")
    description = "" if weight is None else f"weight of CTC at inference {weight:g}"
    digests = {name: file["sha256"] for name, file in files.items()}
    seed = experiment.results.get(SEED)
    seeds = None if seed is None else [seed]
    model = model_of(place or experiment.name, description, seeds, digests)
    clean = next(entry for entry in scores if entry["step"] == 0)
    benign: Any = {
        "utterances": clean["utterances"],
        **{k: clean[k] for k in ("wer",) if k in clean},
    }
    settings = attack.get("settings", {})
    cautions = [sentence(finding) for finding in attack_cautions(scores, settings)]
    return [_card(model, benign, scores, settings, experiment.results, cautions)]


def _card(
    model: Entry,
    benign: Benign,
    scores: Sequence[AttackScores],
    settings: Settings,
    results: SweepResults | AttackResults,
    cautions: Sequence[str],
) -> Entry:
    accuracies = sorted(name for name in benign if name.endswith("_accuracy"))
    definitions = {**DEFINITIONS, **results["definitions"]}
    for name in accuracies:
        definitions[name] = ACCURACY.format(head=name.removesuffix("_accuracy"))
    clean = {
        "trials": {"utterances": benign["utterances"]},
        "metrics": metrics(benign, ("wer", "cer", *accuracies)),
    }
    noise = {entry["budget"]: entry for entry in scores if entry.get("method") == NOISE}
    attacks = [
        _attack(entry, settings, noise.get(entry["budget"]))
        for entry in scores
        if entry["step"] and entry.get("method") != NOISE
    ]
    environment = results["environment"]
    not_tested = _not_tested(settings, len(model["training_seeds"] or []))
    if all(attack["control"] for attack in attacks):
        not_tested.remove(NO_CONTROL)
    return make_card(model, clean, attacks, definitions, not_tested, environment, cautions)


def _attack(entry: AttackScores, settings: Settings, noise: AttackScores | None) -> Entry:
    targeted = settings.get("targeted", True)
    measures = UNDER_ATTACK if targeted else UNDER_ATTACK[:1]
    return {
        "method": entry.get("method", PGD).upper(),
        "norm": _norm(settings),
        "space": "waveform",
        "access": "white box",
        "source": None,
        "targeted": targeted,
        "budget": budget(entry["budget"]),
        "steps": entry["step"],
        "seed": settings.get("seed"),
        "snr_median_db": entry["snr_median"],
        "trials": {"utterances": entry["utterances"]},
        "metrics": metrics(entry, measures),
        "control": noise and {"method": "noise", "metrics": metrics(noise, measures)},
    }


def _norm(settings: Settings) -> str | None:
    return {"2": "2", "inf": "inf"}.get(str(settings.get("norm", "")))


def budget(tag: str) -> Entry:
    """A budget's tag as the card has it.

    Example:
        >>> budget("snr35")
        {'kind': 'snr', 'value': 35.0, 'unit': 'dB'}
    """
    unit = "dB" if tag.startswith("snr") else "full scale is 1"
    return {"kind": tag[:3], "value": float(tag[3:]), "unit": unit}


def _not_tested(settings: Settings, seeds: int) -> list[str]:
    found = [NO_CONTROL, *([ONE_SEED] if seeds < 2 else []), *ONE_BOX]
    norms = {"2": "L∞", "inf": "L2"}
    found.append(f"perturbations bounded in {norms.get(_norm(settings) or '', 'other norms')}")
    targeted = settings.get("targeted", True)
    found.append(f"{'untargeted' if targeted else 'targeted'} attacks")
    return found
