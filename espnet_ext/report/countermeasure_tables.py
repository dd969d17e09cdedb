"""Tables of countermeasures, from results.json."""

from collections.abc import Callable, Collection, Iterator

from espnet_ext.data.attack_log import CLEAN, NOISE
from espnet_ext.report.comparisons import note, remains
from espnet_ext.report.other_corpora import other_corpora_sections
from espnet_ext.report.results import CellResult, Costs, CountermeasureResults, ModelResult, Rates
from espnet_ext.report.tables import MISSING, Cell, overlap_sections, pivot
from espnet_ext.report.wording import budget_name, method_name, number, shown, with_arrow

TRANSFER = (
    "Points of balanced accuracy lost beyond those lost under random signs of the same ε, paired, "
    "with 95 % intervals. ↑: the attack harms more than noise of its size with the whole interval, "
    "↓: less."
)
WHITE_BOX = (
    "Share of attacked trials that the attacker who has the model gets answered wrongly, by the "
    "model's own decisions, and what was asked of the model for one trial."
)
UNDER_ATTACK = (
    "Of the attacked trials: bona fide ones are attacked to be called spoofs, spoofs to be called "
    "bona fide. EER, t-DCF and minDCF choose the best threshold for each line, so they say what is "
    "left to be told apart; what a threshold of clean data makes of it is above."
)
COSTS = {
    "eer": ("eval EER %", 1),
    "min_tdcf_2019": ("min t-DCF (2019)", 3),
    "min_tdcf_2021": ("min t-DCF (2021)", 3),
    "min_dcf": ("minDCF (ASVspoof 5)", 3),
    "cllr": ("Cllr in bits", 3),
}
"""Headings of `espnet_ext.report.results.Costs`, and digits."""
CLEAN_COLUMNS: dict[str, Callable[[ModelResult], str]] = {
    "dev EER % by seed": lambda model: " / ".join(f"{value:.1f}" for value in model["dev_eer"]),
    "balanced accuracy %": lambda model: shown(model["clean"]["balanced_accuracy"]),
    "bona fide right %": lambda model: shown(model["clean"]["bonafide_accuracy"]),
    "spoof right %": lambda model: shown(model["clean"]["spoof_accuracy"]),
    "plain accuracy %": lambda model: shown(model["clean"]["accuracy"]),
}


def countermeasure_tables(results: CountermeasureResults) -> list[str]:
    """All tables of a report of countermeasures with their headings."""
    sections = ["## Without attack", clean_table(results)]
    sections += other_corpora_sections(results.get("other_corpora", []))
    cost = [
        ([f"{c['target']} less {c['baseline']}"], "points of balanced accuracy", difference)
        for c in results["comparisons"]
        if c["method"] == CLEAN
        # Never empty: the condition only gives the text a name.
        and (difference := with_arrow(c["difference"], remains(c, "difference")))
    ]
    if cost:
        sections += ["### What a defence costs", pivot(["without attack"], cost)]
        clean = [c for c in results["comparisons"] if c["method"] == CLEAN]
        sections += note(clean, "difference")
    for architecture in dict.fromkeys(model["architecture"] for model in results["models"]):
        kinds = kinds_of_spoof(results, architecture)
        if kinds:
            # Sorted by kind alone, so that countermeasures stay in the order of the list.
            title = f"### EER by kind of spoof, {architecture}"
            sections += [title, pivot(["EER %"], sorted(kinds, key=lambda cell: list(cell[0])))]
    attacks = dict.fromkeys((cell["source"], cell["method"]) for cell in results["cells"])
    for source in dict.fromkeys(source for source, _ in attacks):
        sections += [f"## Attacks from {source}"]
        if by_eps := results["attack"].get(source, {"by_eps": {}})["by_eps"]:
            sections += ["### Size of ε", eps_table(by_eps)]
        for method in (method for other, method in attacks if other == source):
            sections += [f"### {method_name(method)} from {source}"]
            sections += [TRANSFER] if method != NOISE else []
            sections += attack_tables(results, source, method).values()
            sections += _notes(results) if method != NOISE else []
    if table := cost_table(results):
        sections += ["## Error rates and costs under attack", UNDER_ATTACK, table]
    if table := success_table(results):
        sections += ["## Success by steps, budget and what was asked", WHITE_BOX, table]
    if layers := [text for pair in lnsr_tables(results) for text in pair]:
        sections += ["## Layerwise noise-to-signal ratio", *layers]
    if results["probe"]:
        cells = [
            ([f"{row['model']}, {row['layer']}"], title, f"{value:.1f}")
            for row in results["probe"]
            for title, value in (("dev EER %", row["dev_eer"]), ("eval EER %", row["eval_eer"]))
        ]
        sections += ["## Linear probe by layer", pivot(["features"], cells)]
    return sections + overlap_sections(results.get("overlap"))


def _notes(results: CountermeasureResults) -> list[str]:
    """How many comparisons of each kind the marks of the tables under attack are for."""
    attacked = [c for c in results["comparisons"] if c["method"] != CLEAN]
    found = note(results["cells"], "beyond_noise"), note(attacked, "difference")
    kinds = "points beyond random signs", "points of balanced accuracy"
    return [f"{kind}: {text}" for kind, lines in zip(kinds, found, strict=True) for text in lines]


def clean_table(results: CountermeasureResults) -> str:
    """Error rates and accuracies of every countermeasure without attack."""
    known = {key for model in results["models"] for key in model}
    cells = []
    for m in results["models"]:
        row = m["name"], m["variant"], str(len(m["seeds"]))
        own = {title: cell(m) for title, cell in CLEAN_COLUMNS.items()} if m["seeds"] else {}
        texts = _costs(m, known) | (own or dict.fromkeys(CLEAN_COLUMNS, MISSING))
        cells += [(row, title, text) for title, text in texts.items()]
    return pivot(["countermeasure", "variant", "seeds"], cells)


def _costs(found: Costs, known: Collection[str]) -> dict[str, str]:
    """Heading and text of each cost that some of the results have."""
    values = {key: value for key, value in found.items() if isinstance(value, list | tuple)}
    return {
        title: shown(values[key], digits) if key in values else MISSING
        for key, (title, digits) in COSTS.items()
        if key in known
    }


def cost_table(results: CountermeasureResults) -> str:
    """Error rates and costs of the attacked trials, without attack and under every one.

    Args:
        results: of `results.json`; those of earlier versions have none under attack.

    Returns:
        a row per target, source, method and epsilon; empty where nothing is known.
    """
    known = {key for cell in results["cells"] for key in cell}
    cells = []
    for model in results["models"]:
        own = [c for c in results["cells"] if c["target"] == model["name"] and "eer" in c]
        rows = (
            [((model["name"], "-", "no attack", "-"), model["attacked_clean_costs"])] if own else []
        )
        rows += [
            ((c["target"], c["source"], method_name(c["method"]), f"{c['eps']:g}"), c) for c in own
        ]
        cells += [
            (row, title, text) for row, of in rows for title, text in _costs(of, known).items()
        ]
    return pivot(["target", "source", "attack", "ε"], cells) if cells else ""


def success_table(results: CountermeasureResults) -> str:
    """Success of attackers who have the model; empty where no log was there.

    Args:
        results: of `results.json`.

    Returns:
        a row per source, attack, budget and number of steps.
    """
    cells: list[Cell] = []
    for source, about in results["attack"].items():
        for point in (p for p in about.get("curve", []) if p["step"]):
            steps = "-" if point["method"] == NOISE else str(point["step"])
            row = source, method_name(point["method"]), budget_name(point["budget"]), steps
            cells.append((row, "success %", shown(point["success_rate"])))
            cells.append((row, "gradients", number(point.get("gradients"), 0)))
            cells.append((row, "queries", number(point.get("queries"), 0)))
    return pivot(["source and target", "attack", "budget", "steps"], cells) if cells else ""


def kinds_of_spoof(results: CountermeasureResults, architecture: str) -> list[Cell]:
    """EER of each kind of spoof against all bona fide trials, a column per countermeasure."""
    return [
        ([kind], model["name"], shown(eer))
        for model in results["models"]
        if model["architecture"] == architecture and model["seeds"]
        for kind, eer in model["eer_by_attack"].items()
    ]


def attack_tables(results: CountermeasureResults, source: str, method: str) -> dict[str, str]:
    """The tables of one source and method, by their first heading; a column per epsilon.

    Points lost beyond random signs (none for these themselves), accuracy by class, spoofs accepted
    and success, and every countermeasure against its rivals, where there are such.
    """
    cells = [c for c in results["cells"] if (c["source"], c["method"]) == (source, method)]
    rivals = [c for c in results["comparisons"] if (c["source"], c["method"]) == (source, method)]
    models = {model["name"]: model for model in results["models"]}

    def _name(cell: CellResult) -> str:
        return f"{cell['target']}{' (white box)' * (cell['target'] == source)}"

    found = {
        "points beyond random signs": [
            (_name(c), c["eps"], with_arrow(c["beyond_noise"], remains(c, "beyond_noise")))
            for c in cells
            if method != NOISE and c["beyond_noise"]
        ],
        "balanced % (bona fide / spoof)": [
            # 0 stands for no attack, see `by_eps`.
            *((_name(c), 0.0, _by_class(models[c["target"]]["attacked_clean"])) for c in cells),
            *((_name(c), c["eps"], _by_class(c)) for c in cells),
        ],
        "spoofs accepted % / success %": [
            (
                _name(c),
                c["eps"],
                f"{number(c['spoof_accept_rate'][0])} / {number(c['success_rate'][0])}",
            )
            for c in cells
        ],
        "points of balanced accuracy": [
            (
                f"{c['target']} less {c['baseline']}",
                c["eps"] or 0.0,
                with_arrow(c["difference"], remains(c, "difference")),
            )
            for c in rivals
        ],
    }
    return {heading: by_eps(heading, entries) for heading, entries in found.items() if entries}


def by_eps(heading: str, entries: list[tuple[str, float, str]]) -> str:
    """A table with a column per epsilon in their order, 0 being no attack.

    Args:
        heading: of the first column.
        entries: name of the row, epsilon, and text of the cell.
    """
    names = {e: f"ε {e:g}" if e else "clean" for e in sorted({eps for _, eps, _ in entries})}
    cells = [([name], names[eps], text) for name, eps, text in entries]
    return pivot([heading], cells, list(names.values()))


def _by_class(rates: Rates) -> str:
    balanced, bonafide, spoof = (
        number(rates[key][0])
        for key in ("balanced_accuracy", "bonafide_accuracy", "spoof_accuracy")
    )
    return f"{balanced} ({bonafide} / {spoof})"


def eps_table(by_eps: dict[str, dict[str, float]]) -> str:
    """What each epsilon means in other units, as the attack measured it."""
    titles = {key: key.removeprefix("eps_").replace("_", " ") for key in by_eps}
    cells = [([e], titles[k], f"{v:.3g}") for k, of in by_eps.items() for e, v in of.items()]
    return pivot(["ε"], sorted(cells, key=lambda cell: float(cell[0][0])), list(titles.values()))


def lnsr_tables(results: CountermeasureResults) -> Iterator[tuple[str, str]]:
    """Heading and table of LNSR by layer, means over pairs and training seeds, of each norm."""
    lnsr = results["lnsr"] or {"layers": [], "seeds": [], "curves": []}
    curves = sorted(lnsr["curves"], key=lambda c: (c["eps"], c["perturbation"], c["model"]))
    for norm, centred in ((n, c) for n in ("frobenius", "spectral") for c in (False, True)):
        cells = [
            (
                [f"{c['model']}, {method_name(c['perturbation'])}, ε {c['eps']:g}"],
                layer,
                f"{value:.3f}",
            )
            for c in curves
            if (c["norm"], c["centred"]) == (norm, centred)
            for layer, value in zip(lnsr["layers"], c["mean"], strict=True)
        ]
        if cells:
            title = f"### {norm.capitalize()} norm{', centred' if centred else ''}"
            yield title, pivot([f"LNSR, {norm}"], cells, lnsr["layers"])
