"""What the numbers of the countermeasure half say, in sentences made from results.json."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from espnet_ext.report.cautions import countermeasure_cautions
from espnet_ext.report.countermeasure_tables import MISSING, cells_of, method_name, shown
from espnet_ext.report.tables import by_chance, excludes_zero

Entry = dict[str, Any]
CONSTANT_HIGH, CONSTANT_LOW = 95.0, 5.0


def findings(results: Entry) -> list[str]:
    """Every sentence, the general ones first.

    Args:
        results: of `espnet_ext.report.countermeasures.make_results`.
    """
    return [
        *countermeasure_cautions(results["models"]),
        *clean_sentences(results),
        *transfer_sentences(results),
        *control_sentences(results),
        *defence_sentences(results),
        *constant_sentences(results),
        *white_box_sentences(results),
        *lnsr_sentences(results),
    ]


def clean_sentences(results: Entry) -> list[str]:
    """The best countermeasure, those at chance, and what each defence costs."""
    models = [model for model in results["models"] if model["seeds"]]
    best = min(models, key=lambda model: model["eer"][0])
    lines = [f"Without attack {best['name']} has the lowest EER, {shown(best['eer'])} %."]
    chance = [m for m in models if _covers(m["clean"]["balanced_accuracy"], 50.0)]
    if chance:
        listed = (f"{m['name']} {shown(m['clean']['balanced_accuracy'])} %" for m in chance)
        lines.append(
            "Not distinguishable from chance even without attack, in balanced accuracy: "
            f"{'; '.join(listed)}."
        )
    costs = [c for c in results["comparisons"] if c["method"] == "clean"]
    for baseline in dict.fromkeys(c["baseline"] for c in costs):
        listed = (
            f"{c['target']} {shown(c['difference'])}" for c in costs if c["baseline"] == baseline
        )
        lines.append(
            f"Without attack, points of balanced accuracy against {baseline} (below zero: what the "
            f"defence costs): {'; '.join(listed)}."
        )
    return lines


def _covers(value: Sequence[float | None], point: float) -> bool:
    _, low, high = value
    return low is not None and high is not None and low <= point <= high


def transfer_sentences(results: Entry) -> list[str]:
    """How often an attack harms more than random signs, by method, and what chance would give."""
    lines = []
    methods = dict.fromkeys(c["method"] for c in results["cells"] if c["beyond_noise"])
    for method in methods:
        cells = [c for c in _transferred(results) if c["method"] == method and c["beyond_noise"]]
        if not cells:
            continue
        signs = [excludes_zero(c["beyond_noise"]) for c in cells]
        lines.append(
            f"{method_name(method)} from another model: of {len(cells)} conditions (source, target "
            f"and ε) {signs.count(1)} lose more balanced accuracy than under random signs of the "
            f"same ε, {signs.count(-1)} less, {signs.count(0)} are not distinguishable; "
            f"{by_chance(len(cells))}."
        )
        if 1 in signs:
            lines.append(_strongest(cells))
    return lines


def _transferred(results: Entry) -> list[Entry]:
    return [cell for cell in results["cells"] if cell["source"] != cell["target"]]


def _strongest(cells: Iterable[Entry]) -> str:
    cell = max(cells, key=lambda c: c["beyond_noise"][1] or 0.0)
    return (
        f"The most certain of them: {method_name(cell['method'])} from {cell['source']} on "
        f"{cell['target']} at ε {cell['eps']:g}, {shown(cell['beyond_noise'])} points beyond "
        "random signs."
    )


def control_sentences(results: Entry) -> list[str]:
    """From which epsilon on random signs alone harm a countermeasure for sure."""
    least = []
    for model in results["models"]:
        controls = _controls(results, model["name"])
        harmful = [c["eps"] for c in controls if excludes_zero(c["loss"]) == 1]
        if controls:
            least.append(
                f"{model['name']} {min(harmful):g}" if harmful else f"{model['name']} none"
            )
    if not least:
        return []
    return [
        "Smallest ε at which random signs alone cost balanced accuracy for sure, so that the "
        f"accuracy under attack says little without this control: {'; '.join(least)}."
    ]


def _controls(results: Entry, target: str) -> list[Entry]:
    """Random signs of the source of the panels, or of the first one."""
    cells = [c for c in results["cells"] if (c["target"], c["method"]) == (target, "noise")]
    sources = {panel["source"] for panel in results["panels"]}
    preferred = [c for c in cells if c["source"] in sources and c["source"] != target] or cells
    return [c for c in preferred if c["source"] == preferred[0]["source"]]


def defence_sentences(results: Entry) -> list[str]:
    """Defences against the undefended countermeasure, and mock against rand, by panel."""
    lines = []
    for panel in results["panels"]:
        names = {m["name"] for m in results["models"] if m["architecture"] == panel["architecture"]}
        chosen = [
            c
            for c in results["comparisons"]
            if (c["source"], c["method"]) == (panel["source"], panel["method"])
            and c["target"] in names
        ]
        for baseline in dict.fromkeys(c["baseline"] for c in chosen):
            lines.append(
                _rivalry(panel, baseline, [c for c in chosen if c["baseline"] == baseline])
            )
    return lines


def _rivalry(panel: Entry, baseline: str, chosen: Sequence[Entry]) -> str:
    listed = []
    for target in dict.fromkeys(c["target"] for c in chosen):
        same = [c for c in chosen if c["target"] == target]
        above = [c["eps"] for c in same if excludes_zero(c["difference"]) == 1]
        below = [c for c in same if excludes_zero(c["difference"]) == -1]
        at = f" (ε {', '.join(f'{e:g}' for e in sorted(above))})" if above else ""
        listed.append(f"{target} higher at {len(above)}{at}, lower at {len(below)} of {len(same)}")
    return (
        f"{_panel_name(panel)}: balanced accuracy against {baseline} by whole intervals, number of "
        f"ε: {'; '.join(listed)}. Of {len(chosen)} in all, {by_chance(len(chosen))}."
    )


def _panel_name(panel: Entry) -> str:
    return f"Panel {panel['label']} ({method_name(panel['method'])} from {panel['source']})"


def constant_sentences(results: Entry) -> list[str]:
    """Whether what the curves of Figure 2 show at the largest epsilon are constant answers."""
    lines = []
    for panel in results["panels"]:
        last = [
            (model, max(cells, key=lambda c: c["eps"]))
            for model in results["models"]
            if model["architecture"] == panel["architecture"]
            and (cells := _cells_on(results, panel, model["name"]))
        ]
        lines += [_constancy(panel, m, cell) for m, cell in last if m["variant"] == "mock"]
        for answer in ("bona fide", "spoof"):
            same = [m["name"] for m, c in last if constant_answer(c) == answer]
            if same:
                lines.append(
                    f"{_panel_name(panel)}: at their largest ε these answer '{answer}' to nearly "
                    f"everything, {', '.join(same)}."
                )
    return lines


def _cells_on(results: Entry, panel: Entry, target: str) -> list[Entry]:
    cells = cells_of(results, panel["source"], panel["method"])
    return [cell for cell in cells if cell["target"] == target]


def _constancy(panel: Entry, model: Entry, cell: Entry) -> str:
    """What a Mockingjay countermeasure does at the largest epsilon."""
    before = model["attacked_clean"]["balanced_accuracy"]
    answer = constant_answer(cell)
    verdict = (
        f"It answers '{answer}' to nearly everything, so its plain accuracy of "
        f"{cell['accuracy'][0]:.1f} % is the share of that class and no defence."
        if answer
        else "It does not give one answer to everything."
    )
    return (
        f"{_panel_name(panel)}: balanced accuracy of {model['name']} is {shown(before)} % without "
        f"attack and {shown(cell['balanced_accuracy'])} % at ε {cell['eps']:g}, with "
        f"{cell['bonafide_accuracy'][0]:.1f} % of bona fide and {cell['spoof_accuracy'][0]:.1f} % "
        f"of spoofs right. {verdict}"
    )


def constant_answer(cell: Entry) -> str | None:
    """The class that is answered to nearly everything, if there is one.

    Args:
        cell: with the accuracies of both classes.

    Returns:
        "bona fide" where at least 95 % of bona fide and at most 5 % of spoofs are right, "spoof"
        the other way round.
    """
    bonafide, spoof = cell["bonafide_accuracy"][0], cell["spoof_accuracy"][0]
    if bonafide >= CONSTANT_HIGH and spoof <= CONSTANT_LOW:
        return "bona fide"
    if spoof >= CONSTANT_HIGH and bonafide <= CONSTANT_LOW:
        return "spoof"
    return None


def white_box_sentences(results: Entry) -> list[str]:
    """What the attacker who has the countermeasure itself reaches, and PGD beside FGSM."""
    cells = [c for c in results["cells"] if c["source"] == c["target"] and c["method"] != "noise"]
    lines = []
    for source, method in dict.fromkeys((c["source"], c["method"]) for c in cells):
        own = [c for c in cells if (c["source"], c["method"]) == (source, method)]
        best = min(own, key=lambda c: (c["accuracy"][0], c["eps"]))
        lines.append(
            f"{method_name(method)} from {source} on itself leaves the least accuracy at "
            f"ε {best['eps']:g}: {best['accuracy'][0]:.1f} % (balanced "
            f"{best['balanced_accuracy'][0]:.1f} %)."
        )
    return lines + [
        _strength(cells, source)
        for source in dict.fromkeys(c["source"] for c in cells)
        if {"pgd", "fgsm"} <= {c["method"] for c in cells if c["source"] == source}
    ]


def _strength(cells: Sequence[Entry], source: str) -> str:
    by_method = {
        method: {
            c["eps"]: c["accuracy"][0]
            for c in cells
            if (c["source"], c["method"]) == (source, method)
        }
        for method in ("pgd", "fgsm")
    }
    both = sorted({*by_method["pgd"]} & {*by_method["fgsm"]})
    weaker = [eps for eps in both if by_method["pgd"][eps] > by_method["fgsm"][eps]]
    at = f" (weaker at ε {', '.join(f'{e:g}' for e in weaker)})" if weaker else ""
    return (
        f"PGD on {source} itself is at least as strong as FGSM at {len(both) - len(weaker)} of "
        f"{len(both)} ε{at}."
    )


def lnsr_sentences(results: Entry) -> list[str]:
    """How much of the ratio at the embedding is left at the last layer, and under random signs."""
    if not results["lnsr"]:
        return []
    layers = results["lnsr"]["layers"]
    first = min(1, len(layers) - 1)
    left = {
        (c["norm"], c["eps"], c["model"], c["perturbation"]): c["mean"][-1] / c["mean"][first]
        for c in results["lnsr"]["curves"]
        if not c["centred"] and c["mean"][first]
    }
    return [
        f"LNSR of {layers[-1]} over that of {layers[first]}, {norm} norm, pretrained / random: "
        f"{_left(left, norm, 'pgd')}; {_left(left, norm, 'noise')}."
        for norm in dict.fromkeys(key[0] for key in left)
    ]


def _left(left: Mapping[tuple[Any, ...], float], norm: str, perturbation: str) -> str:
    eps = sorted({key[1] for key in left if (key[0], key[3]) == (norm, perturbation)})
    parts = [f"{_ratio(left, norm, e, perturbation)} at ε {e:g}" for e in eps]
    return f"{method_name(perturbation)} {', '.join(parts) if parts else MISSING}"


def _ratio(left: Mapping[tuple[Any, ...], float], norm: str, eps: float, noise: str) -> str:
    values = [left.get((norm, eps, model, noise)) for model in ("pretrained", "random")]
    return " / ".join(MISSING if value is None else f"{value:.3f}" for value in values)
