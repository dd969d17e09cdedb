"""What the numbers of the countermeasure half say, as facts from results.json."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from espnet_ext.data.attack_log import CLEAN, NOISE
from espnet_ext.report.comparisons import family
from espnet_ext.report.findings import LIMITS, Finding, Signs
from espnet_ext.report.results import (
    CellResult,
    Comparison,
    CountermeasureResults,
    ModelResult,
    Numbers,
    Rates,
)
from espnet_ext.report.wording import excludes_zero


def verdict(results: CountermeasureResults) -> Iterator[Finding]:
    """Without attack, transfer, and the defence."""
    # Of models without scores only the name is known.
    models = [model for model in results["models"] if model["seeds"]]
    best = min(models, key=lambda model: model["eer"][0] or 0.0)
    yield Finding("lowest_eer", {"model": best["name"], "eer": best["eer"], "of": len(models)})
    if "flags" not in results:  # a flag says it since there are flags
        yield from at_chance(models)
    found = _transferred(results)
    methods = list(dict.fromkeys(cell["method"] for cell, _ in found))
    signs = Signs.of([beyond for _, beyond in found])
    yield Finding("transfer", {"methods": methods, "signs": signs})
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
    yield Finding("defence", {"defence": defence["name"], "against": against})
    clean = [c["difference"] for c in results["comparisons"] if c["method"] == CLEAN]
    if "flags" in results and clean:
        most = max(abs(difference[0] or 0.0) for difference in clean)
        yield Finding("alike", {"measure": "balanced accuracy", "most": most})


def at_chance(models: Sequence[ModelResult]) -> Iterator[Finding]:
    """Countermeasures whose balanced accuracy cannot be told from 50 %."""
    chance: dict[str, Numbers] = {}
    for model in models:
        value = model["clean"]["balanced_accuracy"]
        _, low, high = value
        if low is not None and high is not None and low <= 50.0 <= high:
            chance[model["name"]] = value
    if chance:
        yield Finding("at_chance", {"models": chance})


def facts(results: CountermeasureResults) -> Iterator[Finding]:
    """Every further fact, the general ones first."""
    for facts_of in (
        family_facts, cost_facts, transfer_facts, noise_facts, rival_facts,
        constancy_facts, white_box_facts, lnsr_facts,
    ):  # fmt: skip
        yield from facts_of(results)


def family_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """How many comparisons there are of each kind, by chance, and after correction."""
    attacked = [c for c in results["comparisons"] if c["method"] != CLEAN]
    clean = [c for c in results["comparisons"] if c["method"] == CLEAN]
    for what, records, name in (
        ("points beyond random signs", results["cells"], "beyond_noise"),
        ("balanced accuracy of one countermeasure less another's", attacked, "difference"),
        ("the same without attack", clean, "difference"),
    ):
        yield from family(what, records, name, results["resamples"])


def cost_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """What each defence costs without attack, as "cost" of each baseline in `results.json`."""
    costs: dict[str, dict[str, Numbers]] = defaultdict(dict)
    for c in results["comparisons"]:
        if c["method"] == CLEAN:
            costs[c["baseline"]][c["target"]] = c["difference"]
    for baseline, differences in costs.items():
        yield Finding("cost", {"baseline": baseline, "differences": differences})


def _transferred(results: CountermeasureResults) -> list[tuple[CellResult, Numbers]]:
    """Attacks from another model and what they take beyond random signs."""
    cells = [cell for cell in results["cells"] if cell["source"] != cell["target"]]
    # `beyond_noise` is None where no random signs of that size were tried.
    return [(cell, cell["beyond_noise"]) for cell in cells if cell["beyond_noise"]]


def transfer_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """How often an attack harms more than random signs, by method, and where for certain.

    Args:
        results: of `results.json`, as of all facts below.

    Returns:
        "beyond_noise" of each method and, where it ever harms more, "most_certain".
    """
    found = _transferred(results)
    for method in dict.fromkeys(cell["method"] for cell, _ in found):
        same = [(cell, beyond) for cell, beyond in found if cell["method"] == method]
        signs = Signs.of([beyond for _, beyond in same])
        yield Finding("beyond_noise", {"method": method, "signs": signs})
        if signs.above:
            cell, beyond = max(same, key=lambda pair: pair[1][1] or 0.0)
            about = {key: cell[key] for key in ("method", "source", "target", "eps")}
            yield Finding("most_certain", {**about, "beyond_noise": beyond})


def noise_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """From which epsilon on random signs alone harm a countermeasure with the whole interval.

    Returns:
        One "harmful_noise" with that epsilon by name, None where no epsilon harms; none without
        random signs.
    """
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


def rival_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """Each countermeasure against its rivals, by panel.

    Returns:
        "rivals" of each panel and baseline.
    """
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
            total = sum(map(len, targets.values()))
            about = {"baseline": baseline, "targets": listed, "total": total}
            yield Finding("rivals", {**panel, **about})


def constancy_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """Whether what the curves show at the largest epsilon are constant answers.

    Returns:
        By panel, "constancy" of the defence and "constant" of all that give one such answer.
    """
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
            if same[answer] and "flags" not in results:  # a flag says it since there are flags
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
        wrong = 100.0 - (right[other] or 0.0)
        if min(right[answer] or 0.0, wrong) >= LIMITS.CONSTANT:
            return answer
    return None


def white_box_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """What the attacker who has the countermeasure itself reaches, and PGD beside FGSM.

    Returns:
        "white_box" of each source and method, then "strength" of each source that has both.
    """
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
            # Many steps should not do less harm than the first of them.
            weaker = [eps for eps in both if pgd[eps] > fgsm[eps]]
            yield Finding("strength", {"source": source, "eps": both, "weaker": weaker})


def lnsr_facts(results: CountermeasureResults) -> Iterator[Finding]:
    """How much of the ratio at the embedding is left at the last layer, and under random signs.

    Returns:
        "lnsr" of each norm; none where it was not measured.
    """
    lnsr = results["lnsr"]
    if lnsr is None:
        return
    layers = lnsr["layers"]
    # Layer 0 is the input, which no layer of the network has changed yet.
    first = min(1, len(layers) - 1)
    left: dict[str, dict[str, dict[float, dict[str, float]]]] = {}
    for c in sorted(lnsr["curves"], key=lambda curve: curve["eps"]):
        if not c["centred"] and c["mean"][first] and c["perturbation"] in ("pgd", NOISE):
            of_norm = left.setdefault(c["norm"], {"pgd": {}, NOISE: {}})
            ratios = of_norm[c["perturbation"]].setdefault(c["eps"], {})
            ratios[c["model"]] = c["mean"][-1] / c["mean"][first]
    for norm, ratios_of in left.items():
        yield Finding(
            "lnsr", {"norm": norm, "first": layers[first], "last": layers[-1], "left": ratios_of}
        )
