"""Robustness cards of attacked spoofing countermeasures."""

from collections.abc import Mapping, Sequence
from typing import Any

from espnet_ext.report.card_parts import COUNTERMEASURE, make_card, metrics
from espnet_ext.report.countermeasure_findings import cautions, sentence
from espnet_ext.report.countermeasure_records import NOISE, CellResult, ModelResult, Results
from espnet_ext.report.countermeasure_tables import METHODS, method_name
from espnet_ext.report.experiments import Entry

CLEAN_RATES = ("eer", "min_tdcf_2019", "min_tdcf_2021")
ACCURACIES = ("balanced_accuracy", "spoof_accept_rate")
UNDER_ATTACK = (*ACCURACIES, "success_rate", "loss", "beyond_noise")
UNDER_CONTROL = (*ACCURACIES, "loss")
UNITS = {"std": "standard deviations of each feature", "db": "dB", "raw": "of what is attacked"}
ITERATED = ("pgd", "apgd", "upstream")


def countermeasure_cards(results: Results) -> list[Entry]:
    """A card for each countermeasure that was attacked, training seeds pooled.

    Args:
        results: of `cm_report`.
    """
    return [_card(model, results) for model in results["models"] if _cells(model, results)]


def _cells(model: ModelResult, results: Results) -> list[CellResult]:
    """Attacks on a countermeasure, without the control."""
    return [
        cell
        for cell in results["cells"]
        if cell["target"] == model["name"] and cell["method"] != NOISE
    ]


def _card(model: ModelResult, results: Results) -> Entry:
    cells = _cells(model, results)
    trials = results["trials"]
    clean = {
        "trials": trials["evaluation"],
        "metrics": metrics(model, CLEAN_RATES) | metrics(model["clean"], ACCURACIES),
    }
    block = {
        "name": model["name"],
        "task": COUNTERMEASURE,
        "description": f"{model['architecture']}, variant {model['variant']}",
        "training_seeds": model["seeds"],
        "files": {},
    }
    attacks = [_attack(cell, results) for cell in cells]
    gaps = _not_tested(model, cells, attacks)
    return make_card(
        block,
        clean,
        attacks,
        results["definitions"],
        gaps,
        results["environment"],
        [sentence(finding) for finding in cautions([model])],
    )


def _attack(cell: CellResult, results: Results) -> Entry:
    about = results["attack"].get(cell["source"])
    settings = (about and about["settings"]) or {}
    own = cell["source"] == cell["target"]
    snr = about["by_eps"].get(f"snr_{cell['method']}", {}) if about else {}
    unit = settings.get("unit")
    return {
        "method": method_name(cell["method"]),
        "norm": "inf",
        "space": settings.get("space"),
        "access": "white box" if own else "transfer",
        "source": cell["source"],
        "targeted": False,
        "budget": {"kind": "eps", "value": cell["eps"], "unit": UNITS.get(str(unit), unit)},
        "steps": _steps(cell["method"], settings),
        "seed": settings.get("seed"),
        "snr_median_db": snr.get(f"{cell['eps']:g}"),
        "trials": results["trials"]["attacked"],
        "metrics": metrics(cell, UNDER_ATTACK),
        "control": _control(cell, results["cells"]),
    }


def _steps(method: str, settings: Mapping[str, Any]) -> int | None:
    if method == "fgsm":
        return 1
    if method == "square":
        return settings.get("queries")
    return settings.get("steps") if method in ITERATED else None


def _control(cell: CellResult, cells: Sequence[CellResult]) -> Entry | None:
    key = cell["source"], cell["target"], NOISE, cell["eps"]
    for other in cells:
        if (other["source"], other["target"], other["method"], other["eps"]) == key:
            return {"method": method_name(NOISE), "metrics": metrics(other, UNDER_CONTROL)}
    return None


def _not_tested(
    model: ModelResult, cells: Sequence[CellResult], attacks: Sequence[Entry]
) -> list[str]:
    """What the numbers of a card do not speak of."""
    found = [
        f"{name} on this model"
        for method, name in METHODS.items()
        if method not in {NOISE, *(cell["method"] for cell in cells)}
    ]
    access = {attack["access"] for attack in attacks}
    if "white box" not in access:
        found.append("an attacker who has this model (white box)")
    if "transfer" not in access:
        found.append("transfer from another model")
    other = {"features": "waveforms", "waveform": "features"}
    spaces = {attack["space"] for attack in attacks} - {None}
    found += [f"attacks on {other[space]}" for space in sorted(spaces) if len(spaces) == 1]
    found.append("perturbations bounded in another norm than L∞")
    if any(attack["control"] is None for attack in attacks):
        found.append("random signs of the same ε beside every attack, as a control")
    if len(model["seeds"]) == 1:
        found.append("other training seeds: this is one trained model")
    return found
