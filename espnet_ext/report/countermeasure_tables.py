"""Markdown tables of the countermeasure half, from results.json."""

from collections.abc import Callable, Iterable

from espnet_ext.report.countermeasure_records import (
    CLEAN,
    NOISE,
    ModelResult,
    Numbers,
    Rates,
    Results,
)
from espnet_ext.report.tables import ARROWS, excludes_zero, interval, markdown_table

METHODS = {
    "pgd": "PGD",
    "fgsm": "FGSM",
    "noise": "random signs",
    "apgd": "APGD",
    "square": "Square",
    "upstream": "attack on the upstream",
}
MISSING = "missing"
CLEAN_COLUMNS: dict[str, Callable[[ModelResult], str]] = {
    "eval EER %": lambda model: shown(model["eer"]),
    "min t-DCF (2019)": lambda model: shown(model["min_tdcf_2019"], 3),
    "min t-DCF (2021)": lambda model: shown(model["min_tdcf_2021"], 3),
    "dev EER % by seed": lambda model: " / ".join(f"{value:.1f}" for value in model["dev_eer"]),
    "balanced accuracy %": lambda model: shown(model["clean"]["balanced_accuracy"]),
    "bona fide right %": lambda model: shown(model["clean"]["bonafide_accuracy"]),
    "spoof right %": lambda model: shown(model["clean"]["spoof_accuracy"]),
    "plain accuracy %": lambda model: shown(model["clean"]["accuracy"]),
}


def method_name(method: str) -> str:
    """A method as people write it.

    Example:
        >>> method_name("pgd")
        'PGD'
    """
    return METHODS.get(method, method)


def shown(value: Numbers | None, digits: int = 1) -> str:
    """A value with its interval, or "missing".

    Example:
        >>> shown([1.25, None, None]), shown([None, None, None]), shown(None)
        ('1.2', 'missing', 'missing')
    """
    return MISSING if value is None or value[0] is None else interval(value, digits)


def with_arrow(value: Numbers | None) -> str:
    """The same of a difference, with an arrow where the whole interval is above or below zero."""
    return shown(value) + (ARROWS[excludes_zero(value)] if value else "")


def pivot_table(heading: str, entries: Iterable[tuple[str, float, str]]) -> str:
    """A table with a row per name and a column per epsilon; what was not run is "missing".

    Args:
        heading: of the first column.
        entries: name, epsilon (0 for none), and text of the cell.

    Example:
        >>> print(pivot_table("target", [("lcnn", 0, "99"), ("lcnn", 0.1, "50")]))
        | target | clean | ε 0.1 |
        |:--|--:|--:|
        | lcnn | 99 | 50 |
    """
    found = {(name, eps): text for name, eps, text in entries}
    eps = sorted({eps for _, eps in found})
    rows = [
        [name, *(found.get((name, e), MISSING) for e in eps)]
        for name in dict.fromkeys(name for name, _ in found)
    ]
    return markdown_table([heading, *(f"ε {e:g}" if e else "clean" for e in eps)], rows)


def clean_table(results: Results) -> str:
    """Error rates and accuracies of every countermeasure without attack."""
    tandem = any("min_tdcf_2019" in model for model in results["models"])
    columns = {k: cell for k, cell in CLEAN_COLUMNS.items() if tandem or "t-DCF" not in k}
    rows = [
        [
            model["name"],
            model["variant"],
            str(len(model["seeds"])),
            *(cell(model) if model["seeds"] else MISSING for cell in columns.values()),
        ]
        for model in results["models"]
    ]
    return markdown_table(["countermeasure", "variant", "seeds", *columns], rows)


def kinds_table(results: Results, architecture: str) -> str | None:
    """EER of each kind of spoof against all bona fide trials, a column per countermeasure."""
    models = [m for m in results["models"] if m["architecture"] == architecture and m["seeds"]]
    if not models:
        return None
    kinds = sorted({kind for model in models for kind in model["eer_by_attack"]})
    rows = [[kind, *(shown(m["eer_by_attack"].get(kind)) for m in models)] for kind in kinds]
    return markdown_table(["EER %", *(model["name"] for model in models)], rows)


def attack_tables(results: Results, source: str, method: str) -> dict[str, str]:
    """The tables of one source and method, by their first heading; a column per epsilon.

    Points lost beyond random signs (none for these themselves), accuracy by class, spoofs accepted
    and success, and every countermeasure against its rivals, where there are such.
    """
    cells = [c for c in results["cells"] if (c["source"], c["method"]) == (source, method)]
    rivals = [c for c in results["comparisons"] if (c["source"], c["method"]) == (source, method)]
    models = {model["name"]: model for model in results["models"]}
    named = [(f"{c['target']}{' (white box)' * (c['target'] == source)}", c) for c in cells]
    clean = {name: models[c["target"]]["attacked_clean"] for name, c in named}
    found = {
        "points beyond random signs": [
            (name, c["eps"], with_arrow(c["beyond_noise"])) for name, c in named if method != NOISE
        ],
        "balanced % (bona fide / spoof)": [
            *((name, 0.0, _by_class(rates)) for name, rates in clean.items()),
            *((name, c["eps"], _by_class(c)) for name, c in named),
        ],
        "spoofs accepted % / success %": [
            (name, c["eps"], " / ".join(map(_point, (c["spoof_accept_rate"], c["success_rate"]))))
            for name, c in named
        ],
        "points of balanced accuracy": [
            (f"{c['target']} less {c['baseline']}", c["eps"] or 0.0, with_arrow(c["difference"]))
            for c in rivals
        ],
    }
    return {heading: pivot_table(heading, rows) for heading, rows in found.items() if rows}


def _by_class(rates: Rates) -> str:
    balanced, bonafide, spoof = (
        rates[key][0] for key in ("balanced_accuracy", "bonafide_accuracy", "spoof_accuracy")
    )
    return f"{balanced:.1f} ({bonafide:.1f} / {spoof:.1f})"


def _point(value: Numbers) -> str:
    return MISSING if value[0] is None else f"{value[0]:.1f}"


def clean_cost_table(results: Results) -> str | None:
    """What a defence costs without attack."""
    rows = [
        [f"{c['target']} less {c['baseline']}", with_arrow(c["difference"])]
        for c in results["comparisons"]
        if c["method"] == CLEAN
    ]
    return markdown_table(["without attack", "points of balanced accuracy"], rows) if rows else None


def eps_table(results: Results, source: str) -> str | None:
    """What each epsilon means in other units, as the attack measured it."""
    attack = results["attack"].get(source)
    if attack is None or not attack["by_eps"]:
        return None
    tables = attack["by_eps"]
    eps = sorted({e for table in tables.values() for e in table}, key=float)
    header = ["ε", *(key.removeprefix("eps_").replace("_", " ") for key in tables)]
    rows = [
        [e, *(f"{table[e]:.3g}" if e in table else MISSING for table in tables.values())]
        for e in eps
    ]
    return markdown_table(header, rows)


def lnsr_table(results: Results, norm: str, centred: bool) -> str | None:
    """LNSR by layer, means over pairs and training seeds."""
    lnsr = results["lnsr"]
    if lnsr is None:
        return None
    curves = [c for c in lnsr["curves"] if (c["norm"], c["centred"]) == (norm, centred)]
    if not curves:
        return None
    rows = [
        [
            f"{c['model']}, {method_name(c['perturbation'])}, ε {c['eps']:g}",
            *(f"{value:.3f}" for value in c["mean"]),
        ]
        for c in sorted(curves, key=lambda c: (c["eps"], c["perturbation"], c["model"]))
    ]
    return markdown_table([f"LNSR, {norm}", *lnsr["layers"]], rows)


def probe_table(results: Results) -> str | None:
    """Equal error rates of the linear probe."""
    rows = [
        [f"{r['model']}, {r['layer']}", f"{r['dev_eer']:.1f}", f"{r['eval_eer']:.1f}"]
        for r in results["probe"]
    ]
    return markdown_table(["features", "dev EER %", "eval EER %"], rows) if rows else None
