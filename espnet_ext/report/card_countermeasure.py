"""Robustness cards of attacked spoofing countermeasures."""

from collections.abc import Sequence

from espnet_ext.report.card_parts import COUNTERMEASURE, make_card, metrics
from espnet_ext.report.cautions import countermeasure_cautions
from espnet_ext.report.countermeasure_tables import METHODS, method_name
from espnet_ext.report.experiments import Entry

CONTROL = "noise"
CLEAN_RATES = ("eer", "min_tdcf_2019", "min_tdcf_2021")
ACCURACIES = ("balanced_accuracy", "spoof_accept_rate")
UNDER_ATTACK = (*ACCURACIES, "success_rate", "loss", "beyond_noise")
UNDER_CONTROL = (*ACCURACIES, "loss")
UNITS = {"std": "standard deviations of each feature", "db": "dB", "raw": "of what is attacked"}
ITERATED = ("pgd", "apgd", "upstream")


def countermeasure_cards(results: Entry) -> list[Entry]:
    """A card for each countermeasure that was attacked, training seeds pooled.

    Args:
        results: of `cm_report`.
    """
    return [_card(model, results) for model in results["models"] if _cells(model, results)]


def _cells(model: Entry, results: Entry) -> list[Entry]:
    """Attacks on a countermeasure, without the control."""
    return [
        cell
        for cell in results["cells"]
        if cell["target"] == model["name"] and cell["method"] != CONTROL
    ]


def _card(model: Entry, results: Entry) -> Entry:
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
        countermeasure_cautions([model]),
    )


def _attack(cell: Entry, results: Entry) -> Entry:
    about = results["attack"].get(cell["source"], {})
    settings = about.get("settings") or {}
    own = cell["source"] == cell["target"]
    snr = about.get("by_eps", {}).get(f"snr_{cell['method']}", {})
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


def _steps(method: str, settings: Entry) -> int | None:
    if method == "fgsm":
        return 1
    if method == "square":
        return settings.get("queries")
    return settings.get("steps") if method in ITERATED else None


def _control(cell: Entry, cells: Sequence[Entry]) -> Entry | None:
    key = ("source", "target", "eps")
    for other in cells:
        if other["method"] == CONTROL and all(other[k] == cell[k] for k in key):
            return {"method": method_name(CONTROL), "metrics": metrics(other, UNDER_CONTROL)}
    return None


def _not_tested(model: Entry, cells: Sequence[Entry], attacks: Sequence[Entry]) -> list[str]:
    """What the numbers of a card do not speak of."""
    found = [
        f"{name} on this model"
        for method, name in METHODS.items()
        if method not in {CONTROL, *(cell["method"] for cell in cells)}
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
