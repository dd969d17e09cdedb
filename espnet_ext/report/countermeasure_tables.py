"""Markdown tables of the countermeasure half, from results.json."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from espnet_ext.report.tables import excludes_zero, interval, markdown_table

Entry = dict[str, Any]
METHODS = {
    "pgd": "PGD",
    "fgsm": "FGSM",
    "noise": "random signs",
    "apgd": "APGD",
    "square": "Square",
    "upstream": "attack on the upstream",
}
MISSING = "missing"
CLEAN_COLUMNS = {
    "eer": "eval EER %",
    "min_tdcf_2019": "min t-DCF (2019)",
    "min_tdcf_2021": "min t-DCF (2021)",
    "dev_eer": "dev EER % by seed",
    "balanced_accuracy": "balanced accuracy %",
    "bonafide_accuracy": "bona fide right %",
    "spoof_accuracy": "spoof right %",
    "accuracy": "plain accuracy %",
}


def method_name(method: str) -> str:
    """A method as people write it.

    Example:
        >>> method_name("pgd")
        'PGD'
    """
    return METHODS.get(method, method)


def shown(value: Sequence[float | None] | None, digits: int = 1) -> str:
    """A value with its interval, or "missing".

    Example:
        >>> shown([1.25, None, None]), shown([None, None, None]), shown(None)
        ('1.2', 'missing', 'missing')
    """
    return MISSING if value is None or value[0] is None else interval(value, digits)


def arrow(value: Sequence[float | None]) -> str:
    """An arrow where the whole interval lies above or below zero."""
    return {1: " ↑", -1: " ↓", 0: ""}[excludes_zero(value)]


def clean_table(results: Entry) -> str:
    """Error rates and accuracies of every countermeasure without attack."""
    found = {key for model in results["models"] for key in model}
    columns = {k: name for k, name in CLEAN_COLUMNS.items() if k in found or "accuracy" in k}
    rows = [
        [
            model["name"],
            model["variant"],
            str(len(model["seeds"])),
            *(_clean_cell(model, key) for key in columns),
        ]
        for model in results["models"]
    ]
    return markdown_table(["countermeasure", "variant", "seeds", *columns.values()], rows)


def _clean_cell(model: Entry, key: str) -> str:
    if not model["seeds"]:
        return MISSING
    if key == "dev_eer":
        return " / ".join(f"{value:.1f}" for value in model[key])
    value = model["clean"][key] if "accuracy" in key else model.get(key)
    return shown(value, 3 if "tdcf" in key else 1)


def kinds_table(results: Entry, architecture: str) -> str | None:
    """EER of each kind of spoof against all bona fide trials, a column a countermeasure."""
    models = [m for m in results["models"] if m["architecture"] == architecture and m["seeds"]]
    if not models:
        return None
    kinds = sorted({kind for model in models for kind in model["eer_by_attack"]})
    rows = [[kind, *(shown(m["eer_by_attack"].get(kind)) for m in models)] for kind in kinds]
    return markdown_table(["EER %", *(model["name"] for model in models)], rows)


def cells_of(results: Entry, source: str, method: str) -> list[Entry]:
    """Conditions of one source and method."""
    return [c for c in results["cells"] if (c["source"], c["method"]) == (source, method)]


def by_eps(
    entries: Sequence[Entry], cell: Callable[[Entry], str], heading: str, label: str = "target"
) -> str:
    """A table with a column an epsilon; what was not run is "missing".

    Args:
        entries: with keys eps and `label`.
        cell: text of an entry.
        heading: of the first column.
        label: key that names the rows.
    """
    eps = sorted({entry["eps"] for entry in entries})
    found = {(entry[label], entry["eps"]): entry for entry in entries}
    rows = [
        [name, *(cell(found[name, e]) if (name, e) in found else MISSING for e in eps)]
        for name in dict.fromkeys(entry[label] for entry in entries)
    ]
    return markdown_table([heading, *(f"ε {e:g}" for e in eps)], rows)


def beyond_noise_table(results: Entry, source: str, method: str) -> str:
    """Loss of balanced accuracy beyond that under random signs; arrows where it is certain."""

    def cell(entry: Entry) -> str:
        value = entry["beyond_noise"]
        return MISSING if value is None else shown(value) + arrow(value)

    return by_eps(_named(cells_of(results, source, method)), cell, "points beyond random signs")


def classes_table(results: Entry, source: str, method: str) -> str:
    """Balanced accuracy, and in brackets the accuracies of bona fide and of spoof."""

    def cell(entry: Entry) -> str:
        return _with_classes(entry)

    entries = _named([*_clean_cells(results, source, method), *cells_of(results, source, method)])
    return by_eps(entries, cell, "balanced % (bona fide / spoof)").replace("ε 0 |", "clean |", 1)


def _with_classes(entry: Entry) -> str:
    keys = ("balanced_accuracy", "bonafide_accuracy", "spoof_accuracy")
    values = [entry[key][0] for key in keys]
    return "{:.1f} ({:.1f} / {:.1f})".format(*values)


def _clean_cells(results: Entry, source: str, method: str) -> list[Entry]:
    """The targets of one source and method without attack, on the attacked trials."""
    targets = dict.fromkeys(cell["target"] for cell in cells_of(results, source, method))
    models = {model["name"]: model for model in results["models"]}
    return [
        {"source": source, "target": t, "eps": 0.0, **models[t]["attacked_clean"]} for t in targets
    ]


def harm_table(results: Entry, source: str, method: str) -> str:
    """Spoof-accept rate, and success among the trials that were right before."""

    def cell(entry: Entry) -> str:
        return " / ".join(
            MISSING if entry[key][0] is None else f"{entry[key][0]:.1f}"
            for key in ("spoof_accept_rate", "success_rate")
        )

    return by_eps(_named(cells_of(results, source, method)), cell, "spoofs accepted % / success %")


def _named(entries: Iterable[Entry]) -> list[Entry]:
    """Entries whose target is marked where it is the source itself."""
    return [
        e | {"target": f"{e['target']} (white box)"} if e["target"] == e["source"] else e
        for e in entries
    ]


def comparison_table(results: Entry, source: str, method: str) -> str | None:
    """Balanced accuracy of each countermeasure less that of another under the same attack."""
    entries = [
        c | {"pair": f"{c['target']} less {c['baseline']}"}
        for c in results["comparisons"]
        if (c["source"], c["method"]) == (source, method)
    ]
    if not entries:
        return None

    def cell(entry: Entry) -> str:
        return shown(entry["difference"]) + arrow(entry["difference"])

    return by_eps(entries, cell, "points of balanced accuracy", "pair")


def clean_cost_table(results: Entry) -> str | None:
    """The same without attack: what a defence costs."""
    rows = [
        [
            f"{c['target']} less {c['baseline']}",
            shown(c["difference"]) + arrow(c["difference"]),
        ]
        for c in results["comparisons"]
        if c["method"] == "clean"
    ]
    return markdown_table(["without attack", "points of balanced accuracy"], rows) if rows else None


def eps_table(results: Entry, source: str) -> str | None:
    """What each epsilon means in other units, as the attack measured it."""
    tables = results["attack"].get(source, {}).get("by_eps", {})
    if not tables:
        return None
    eps = sorted({e for table in tables.values() for e in table}, key=float)
    header = ["ε", *(key.removeprefix("eps_").replace("_", " ") for key in tables)]
    rows = [
        [e, *(f"{table[e]:.3g}" if e in table else MISSING for table in tables.values())]
        for e in eps
    ]
    return markdown_table(header, rows)


def lnsr_table(results: Entry, norm: str, centred: bool) -> str | None:
    """LNSR by layer, means over pairs and training seeds."""
    lnsr = results["lnsr"]
    curves = [
        c for c in (lnsr["curves"] if lnsr else []) if (c["norm"], c["centred"]) == (norm, centred)
    ]
    if not curves:
        return None
    curves.sort(key=lambda c: (c["eps"], c["perturbation"], c["model"]))
    rows = [
        [
            f"{c['model']}, {method_name(c['perturbation'])}, ε {c['eps']:g}",
            *(f"{value:.3f}" for value in c["mean"]),
        ]
        for c in curves
    ]
    return markdown_table([f"LNSR, {norm}", *lnsr["layers"]], rows)


def probe_table(results: Entry) -> str | None:
    """Equal error rates of the linear probe."""
    rows = [
        [f"{r['model']}, {r['layer']}", f"{r['dev_eer']:.1f}", f"{r['eval_eer']:.1f}"]
        for r in results["probe"]
    ]
    return markdown_table(["features", "dev EER %", "eval EER %"], rows) if rows else None
