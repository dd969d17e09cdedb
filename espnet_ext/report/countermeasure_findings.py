"""What the numbers of the countermeasure half say: facts from results.json, and their sentences."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from espnet_ext.data.attack_log import CLEAN, NOISE
from espnet_ext.report.countermeasure_records import (
    CellResult,
    Comparison,
    ModelResult,
    Rates,
    Results,
)
from espnet_ext.report.countermeasure_tables import MISSING, method_name, shown
from espnet_ext.report.findings import Finding
from espnet_ext.report.results import Numbers
from espnet_ext.report.tables import by_chance, excludes_zero

CHANCE_EER = 40.0  # percent; 50 is chance
CONSTANT_HIGH, CONSTANT_LOW = 95.0, 5.0


class Signs(NamedTuple):
    """How many of some differences are above zero with the whole interval, below, or neither."""

    above: int
    below: int
    neither: int

    @property
    def total(self) -> int:
        """Number of differences."""
        return sum(self)

    @classmethod
    def of(cls, differences: Sequence[Numbers]) -> "Signs":
        """Count differences."""
        found = [excludes_zero(difference) for difference in differences]
        return cls(found.count(1), found.count(-1), found.count(0))


def findings(results: Results) -> list[str]:
    """What to know first, and the sentence of every fact.

    Args:
        results: of `espnet_ext.report.countermeasures.measure_run`.
    """
    return [sentence(f) for f in (*cautions(results["models"]), *facts(results))]


def verdict(results: Results) -> list[str]:
    """What to know first, and three sentences: without attack, transfer, and the defence."""
    return [sentence(f) for f in (*cautions(results["models"]), *summary_facts(results))]


def cautions(models: Sequence[ModelResult]) -> Iterator[Finding]:
    """Countermeasures that cannot tell bona fide speech from spoofs without any attack."""
    near = {
        model["name"]: model["eer"]
        for model in models
        if model["seeds"]
        and ((model["eer"][0] or 0.0) >= CHANCE_EER or (model["eer"][2] or 0.0) >= 50.0)
    }
    if near:
        yield Finding("near_chance", {"models": near})


def facts(results: Results) -> Iterator[Finding]:
    """Every fact, the general ones first."""
    yield from _clean_facts(results)
    yield from _transfer_facts(results)
    yield from _noise_facts(results)
    yield from _rival_facts(results)
    yield from _constant_facts(results)
    yield from _white_box_facts(results)
    yield from _lnsr_facts(results)


def _clean_facts(results: Results) -> Iterator[Finding]:
    """The best countermeasure, those at chance, and what each defence costs."""
    models = [model for model in results["models"] if model["seeds"]]
    best = min(models, key=lambda model: model["eer"][0] or 0.0)
    yield Finding("lowest_eer", {"model": best["name"], "eer": best["eer"], "of": len(models)})
    balanced = {model["name"]: model["clean"]["balanced_accuracy"] for model in models}
    chance = {name: value for name, value in balanced.items() if _covers(value, 50.0)}
    if chance:
        yield Finding("at_chance", {"models": chance})
    costs: dict[str, dict[str, Numbers]] = defaultdict(dict)
    for c in results["comparisons"]:
        if c["method"] == CLEAN:
            costs[c["baseline"]][c["target"]] = c["difference"]
    for baseline, differences in costs.items():
        yield Finding("cost", {"baseline": baseline, "differences": differences})


def _covers(value: Numbers, point: float) -> bool:
    _, low, high = value
    return low is not None and high is not None and low <= point <= high


def _transferred(results: Results) -> list[tuple[CellResult, Numbers]]:
    """Attacks from another model and what they take beyond random signs."""
    cells = [cell for cell in results["cells"] if cell["source"] != cell["target"]]
    return [(cell, cell["beyond_noise"]) for cell in cells if cell["beyond_noise"]]


def _transfer_facts(results: Results) -> Iterator[Finding]:
    """How often an attack harms more than random signs, by method, and where for certain."""
    found = _transferred(results)
    for method in dict.fromkeys(cell["method"] for cell, _ in found):
        same = [(cell, beyond) for cell, beyond in found if cell["method"] == method]
        signs = Signs.of([beyond for _, beyond in same])
        yield Finding("beyond_noise", {"method": method, "signs": signs})
        if signs.above:
            cell, beyond = max(same, key=lambda pair: pair[1][1] or 0.0)
            about = {key: cell[key] for key in ("method", "source", "target", "eps")}
            yield Finding("most_certain", {**about, "beyond_noise": beyond})


def _noise_facts(results: Results) -> Iterator[Finding]:
    """From which epsilon on random signs alone harm a countermeasure with the whole interval."""
    sources = {panel["source"] for panel in results["panels"]}
    least: dict[str, float | None] = {}
    for model in results["models"]:
        name = model["name"]
        cells = [c for c in results["cells"] if (c["target"], c["method"]) == (name, NOISE)]
        # Those of the source of the panels, or of the first one.
        chosen = [c for c in cells if c["source"] in sources and c["source"] != name] or cells
        chosen = [c for c in chosen if c["source"] == chosen[0]["source"]]
        if chosen:
            harmful = [c["eps"] for c in chosen if excludes_zero(c["loss"]) == 1]
            least[name] = min(harmful, default=None)
    if least:
        yield Finding("harmful_noise", {"least_eps": least})


def _rival_facts(results: Results) -> Iterator[Finding]:
    """Each countermeasure against its rivals, by panel."""
    models = {model["name"]: model["architecture"] for model in results["models"]}
    for panel in results["panels"]:
        found: dict[str, dict[str, list[Comparison]]] = defaultdict(lambda: defaultdict(list))
        for c in results["comparisons"]:
            mine = (c["source"], c["method"]) == (panel["source"], panel["method"])
            if mine and models[c["target"]] == panel["architecture"]:
                found[c["baseline"]][c["target"]].append(c)
        for baseline, targets in found.items():
            listed = {
                target: {
                    "signs": Signs.of([c["difference"] for c in same]),
                    "above": sorted(
                        c["eps"] or 0.0 for c in same if excludes_zero(c["difference"]) == 1
                    ),
                }
                for target, same in targets.items()
            }
            yield Finding("rivals", {**panel, "baseline": baseline, "targets": listed})


def _constant_facts(results: Results) -> Iterator[Finding]:
    """Whether what the curves show at the largest epsilon are constant answers."""
    defence = results["layout"].get("defence")
    for panel in results["panels"]:
        key = panel["source"], panel["method"]
        same = defaultdict(list)
        for model in results["models"]:
            cells = [c for c in results["cells"] if (c["source"], c["method"]) == key]
            cells = [c for c in cells if c["target"] == model["name"]]
            if model["architecture"] != panel["architecture"] or not cells:
                continue
            last = max(cells, key=lambda c: c["eps"])
            answer = constant_answer(last)
            same[answer].append(model["name"])
            if defence and model["variant"] == defence["variant"]:
                before = model["attacked_clean"]["balanced_accuracy"]
                about = {**panel, "model": model["name"], "before": before, "answer": answer}
                yield Finding("constancy", {**last, **about})
        for answer in ("bona fide", "spoof"):
            if same[answer]:
                yield Finding("constant", {**panel, "answer": answer, "models": same[answer]})


def constant_answer(rates: Rates) -> str | None:
    """The class that is answered to nearly everything, if there is one.

    Args:
        rates: with the accuracies of both classes.

    Returns:
        "bona fide" where at least 95 % of bona fide and at most 5 % of spoofs are right, "spoof"
        the other way round.
    """
    right = {"bona fide": rates["bonafide_accuracy"][0], "spoof": rates["spoof_accuracy"][0]}
    for answer, other in (("bona fide", "spoof"), ("spoof", "bona fide")):
        if (right[answer] or 0.0) >= CONSTANT_HIGH and (right[other] or 0.0) <= CONSTANT_LOW:
            return answer
    return None


def _white_box_facts(results: Results) -> Iterator[Finding]:
    """What the attacker who has the countermeasure itself reaches, and PGD beside FGSM."""
    own: dict[tuple[str, str], list[CellResult]] = defaultdict(list)
    for cell in results["cells"]:
        if cell["source"] == cell["target"] and cell["method"] != NOISE:
            own[cell["source"], cell["method"]].append(cell)
    for cells in own.values():
        yield Finding("white_box", {**min(cells, key=lambda c: (c["accuracy"][0], c["eps"]))})
    for source in dict.fromkeys(source for source, _ in own):
        pgd, fgsm = (
            {cell["eps"]: cell["accuracy"][0] or 0.0 for cell in own[source, method]}
            for method in ("pgd", "fgsm")
        )
        if pgd and fgsm:
            both = sorted({*pgd} & {*fgsm})
            weaker = [eps for eps in both if pgd[eps] > fgsm[eps]]
            yield Finding("strength", {"source": source, "eps": both, "weaker": weaker})


def _lnsr_facts(results: Results) -> Iterator[Finding]:
    """How much of the ratio at the embedding is left at the last layer, and under random signs."""
    lnsr = results["lnsr"]
    if lnsr is None:
        return
    layers = lnsr["layers"]
    first = min(1, len(layers) - 1)
    left: dict[str, dict[tuple[str, float, str], float]] = defaultdict(dict)
    for c in lnsr["curves"]:
        if not c["centred"] and c["mean"][first]:
            key = c["perturbation"], c["eps"], c["model"]
            left[c["norm"]][key] = c["mean"][-1] / c["mean"][first]
    for norm, ratios in left.items():
        yield Finding(
            "lnsr", {"norm": norm, "first": layers[first], "last": layers[-1], "left": ratios}
        )


def summary_facts(results: Results) -> Iterator[Finding]:
    """The facts of the verdict."""
    clean = {finding.kind: finding.values for finding in _clean_facts(results)}
    chance = list(clean.get("at_chance", {"models": {}})["models"])
    yield Finding("summary_clean", {**clean["lowest_eer"], "at_chance": chance})
    found = _transferred(results)
    methods = list(dict.fromkeys(cell["method"] for cell, _ in found))
    signs = Signs.of([beyond for _, beyond in found])
    yield Finding("summary_transfer", {"methods": methods, "signs": signs})
    layout, variants = results["layout"], {m["name"]: m["variant"] for m in results["models"]}
    defence = layout.get("defence", {"variant": "", "name": "a defence"})
    attacked = [
        c
        for c in results["comparisons"]
        if c["method"] not in (CLEAN, NOISE) and variants[c["target"]] == defence["variant"]
    ]
    against: dict[str, Signs] = {}
    for rival in layout.get("rivals", []):
        same = [c["difference"] for c in attacked if variants[c["baseline"]] == rival["baseline"]]
        if same:
            against[rival["against"]] = Signs.of(same)
    yield Finding("summary_defence", {"defence": defence["name"], "against": against})


def sentence(finding: Finding) -> str:
    """A fact in words."""
    return SENTENCES[finding.kind](finding.values)


def _panel(v: dict[str, Any]) -> str:
    return f"Panel {v['label']} ({method_name(v['method'])} from {v['source']})"


def _intervals(values: dict[str, Numbers], unit: str = "") -> str:
    return "; ".join(f"{name} {shown(value)}{unit}" for name, value in values.items())


def _eps(values: Sequence[float]) -> str:
    return f"ε {', '.join(f'{e:g}' for e in values)}"


def _rivals(v: dict[str, Any]) -> str:
    listed = []
    for target, found in v["targets"].items():
        signs, at = found["signs"], f" ({_eps(found['above'])})" if found["above"] else ""
        listed.append(
            f"{target} higher at {signs.above}{at}, lower at {signs.below} of {signs.total}"
        )
    total = sum(found["signs"].total for found in v["targets"].values())
    return (
        f"{_panel(v)}: balanced accuracy against {v['baseline']} by whole intervals, number of "
        f"ε: {'; '.join(listed)}. Of {total} in all, {by_chance(total)}."
    )


def _constancy(v: dict[str, Any]) -> str:
    said = (
        f"It answers '{v['answer']}' to nearly everything, so its plain accuracy of "
        f"{v['accuracy'][0]:.1f} % is the share of that class and no defence."
        if v["answer"]
        else "It does not give one answer to everything."
    )
    return (
        f"{_panel(v)}: balanced accuracy of {v['model']} is {shown(v['before'])} % without "
        f"attack and {shown(v['balanced_accuracy'])} % at ε {v['eps']:g}, with "
        f"{v['bonafide_accuracy'][0]:.1f} % of bona fide and {v['spoof_accuracy'][0]:.1f} % "
        f"of spoofs right. {said}"
    )


def _lnsr(v: dict[str, Any]) -> str:
    parts = []
    for perturbation in ("pgd", NOISE):
        of_it = {key[1:]: ratio for key, ratio in v["left"].items() if key[0] == perturbation}
        at = [
            " / ".join(
                f"{of_it[eps, model]:.3f}" if (eps, model) in of_it else MISSING
                for model in ("pretrained", "random")
            )
            + f" at ε {eps:g}"
            for eps in sorted({eps for eps, _ in of_it})
        ]
        parts.append(f"{method_name(perturbation)} {', '.join(at) or MISSING}")
    return (
        f"LNSR of {v['last']} over that of {v['first']}, {v['norm']} norm, pretrained / random: "
        f"{'; '.join(parts)}."
    )


def _summary_transfer(v: dict[str, Any]) -> str:
    signs = v["signs"]
    if not signs.total:
        return "No attack from another model was compared with random signs of the same ε."
    return (
        f"Of {signs.total} attacks from another model ({', '.join(map(method_name, v['methods']))};"
        f" each source, target and ε) {signs.above} cost more balanced accuracy than random signs "
        f"of the same ε, {signs.below} less, and {signs.neither} are not distinguishable from them "
        f"by their 95 % intervals; {by_chance(signs.total)}."
    )


def _summary_defence(v: dict[str, Any]) -> str:
    if not v["against"]:
        return f"No countermeasure behind {v['defence']} was compared under attack."
    parts = [
        f"against {baseline} is higher in {signs.above}, lower in {signs.below} and not "
        f"distinguishable in {signs.neither} of {signs.total} conditions"
        for baseline, signs in v["against"].items()
    ]
    return f"Balanced accuracy behind {v['defence']} under the same attack, {'; '.join(parts)}."


SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "near_chance": lambda v: (
        "Nothing follows about the robustness of a countermeasure that is near chance without "
        f"attack (EER of {CHANCE_EER:g} % or more, or an interval that reaches 50 %): EER of "
        f"{_intervals(v['models'], ' %')}."
    ),
    "lowest_eer": lambda v: f"Without attack {v['model']} has the lowest EER, {shown(v['eer'])} %.",
    "at_chance": lambda v: (
        "Not distinguishable from chance even without attack, in balanced accuracy: "
        f"{_intervals(v['models'], ' %')}."
    ),
    "cost": lambda v: (
        f"Without attack, points of balanced accuracy against {v['baseline']} (below zero: what "
        f"the defence costs): {_intervals(v['differences'])}."
    ),
    "beyond_noise": lambda v: (
        f"{method_name(v['method'])} from another model: of {v['signs'].total} conditions (source, "
        f"target and ε) {v['signs'].above} lose more balanced accuracy than under random signs of "
        f"the same ε, {v['signs'].below} less, {v['signs'].neither} are not distinguishable; "
        f"{by_chance(v['signs'].total)}."
    ),
    "most_certain": lambda v: (
        f"The most certain of them: {method_name(v['method'])} from {v['source']} on "
        f"{v['target']} at ε {v['eps']:g}, {shown(v['beyond_noise'])} points beyond random signs."
    ),
    "harmful_noise": lambda v: (
        "Smallest ε at which random signs alone cost balanced accuracy for sure, so that the "
        "accuracy under attack says little without this control: "
        + "; ".join(
            f"{name} {'none' if eps is None else f'{eps:g}'}"
            for name, eps in v["least_eps"].items()
        )
        + "."
    ),
    "rivals": _rivals,
    "constancy": _constancy,
    "constant": lambda v: (
        f"{_panel(v)}: at their largest ε these answer '{v['answer']}' to nearly everything, "
        f"{', '.join(v['models'])}."
    ),
    "white_box": lambda v: (
        f"{method_name(v['method'])} from {v['source']} on itself leaves the least accuracy at "
        f"ε {v['eps']:g}: {v['accuracy'][0]:.1f} % (balanced {v['balanced_accuracy'][0]:.1f} %)."
    ),
    "strength": lambda v: (
        f"PGD on {v['source']} itself is at least as strong as FGSM at "
        f"{len(v['eps']) - len(v['weaker'])} of {len(v['eps'])} ε"
        + (f" (weaker at {_eps(v['weaker'])})." if v["weaker"] else ".")
    ),
    "lnsr": _lnsr,
    "summary_clean": lambda v: (
        f"Without attack {v['model']} has the lowest EER of {v['of']} countermeasures, "
        f"{shown(v['eer'])} %; not distinguishable from chance in balanced accuracy: "
        + (f"{len(v['at_chance'])} ({', '.join(v['at_chance'])})" if v["at_chance"] else "none")
        + "."
    ),
    "summary_transfer": _summary_transfer,
    "summary_defence": _summary_defence,
}
