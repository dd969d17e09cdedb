"""Figures of the countermeasure half, from results.json, in panels and styles of its layout."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.report.figures import (
    COLOURS,
    WIDTH,
    Picture,
    curve,
    drawing,
    name_lines,
    snr_axis,
    success_picture,
)
from espnet_ext.report.layout import Style
from espnet_ext.report.results import (
    Comparison,
    CountermeasureResults,
    Histogram,
    ModelResult,
    PanelOf,
)
from espnet_ext.report.wording import method_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Accuracy = Literal["balanced_accuracy", "accuracy"]
OTHER_STYLES = [*zip(COLOURS[-4:], "x*<>", strict=True)]
CHANCE = 50.0  # per cent of balanced accuracy
EPS_LABELS = {"std": "ε in standard deviations of each feature", "db": "ε in dB"}
CLASSES: tuple[tuple[Literal["spoof", "bonafide"], str, str], ...] = (
    ("spoof", "spoof", "#d55e00"),
    ("bonafide", "bona fide", "#0072b2"),
)
WIDEST_LNSR = 4  # columns
MOST_SOURCES = 4  # of curves of success


def countermeasure_pictures(results: CountermeasureResults) -> Iterator[Picture]:
    """Every picture that the results have data for."""
    if any(_models_of(results, panel) for panel in results["panels"]):
        yield Picture(
            "figure2.png",
            partial(figure_2, results),
            "Curves of balanced accuracy against ε, a panel an attack",
            "Figure 2 of the paper in balanced accuracy, with 95 % intervals over speakers and "
            "training seeds, and below it the paired difference to the countermeasure without "
            "defence. Dashed: random signs of the same ε. 50 % is a constant answer.",
        )
        yield Picture(
            "figure2_plain.png",
            partial(figure_2, results, measure="accuracy"),
            "Curves of plain accuracy against ε, a panel an attack",
            "The same in plain accuracy, which is what the paper plots. Dotted: the accuracy of "
            "always answering 'spoof'.",
        )
    known = {source: of["curve"] for source, of in results["attack"].items() if "curve" in of}
    if known:
        first = [p["source"] for p in results["panels"] if p["source"] in known] or [*known]
        names = [*dict.fromkeys(first)][:MOST_SOURCES]
        yield success_picture({name: known[name] for name in names})
    if heat_map := results["layout"].get("heat_map"):
        method, eps = heat_map["method"], heat_map["eps"]
        if any((c["method"], c["eps"]) == (method, eps) for c in results["cells"]):
            yield Picture(
                f"transfer_{method}_{eps:g}.png",
                partial(transfer, results),
                "Heat map of balanced accuracy, source by target",
                f"Balanced accuracy of each target under {method_name(method)} at ε {eps:g} from "
                "each source, without attack, and under random signs of the same ε (mean over "
                "the sources). White: chance; grey: not measured.",
            )
    if results["histograms"]:
        yield Picture(
            "histograms.png",
            partial(score_histograms, results),
            "Histograms of scores before and under attack",
            "Scores before and under PGD from the source of Figure 2. 0 is the threshold; the "
            "outer bins hold all that lies beyond.",
        )
    if results["lnsr"]:
        yield Picture(
            "figure3.png",
            partial(figure_3, results),
            "Curves of the layerwise noise-to-signal ratio",
            "Figure 3 of the paper: noise-to-signal ratio by layer, mean over pairs. Dashed: "
            "random signs of the same ε. The band spans the training seeds.",
        )


def style_of(variant: str, results: CountermeasureResults) -> Style:
    """How a variant is drawn; those that the layout does not know differ from each other."""
    styles = results["layout"].get("styles", {})
    if variant in styles:
        return styles[variant]
    known = [model["variant"] for model in results["models"]]
    known += [curve["model"] for curve in (results["lnsr"] or {"curves": []})["curves"]]
    others = list(dict.fromkeys(name for name in known if name not in styles))
    colour, marker = OTHER_STYLES[others.index(variant) % len(OTHER_STYLES)]
    return {"colour": colour, "marker": marker, "name": variant}


def figure_2(
    results: CountermeasureResults, path: str | Path, measure: Accuracy = "balanced_accuracy"
) -> None:
    """Accuracy against epsilon, a panel each of the layout, as in Figure 2 of Wu et al. 2020.

    Args:
        results: of `results.json`.
        path: the picture.
        measure: what is drawn.
    """
    labels = {
        "balanced_accuracy": "balanced accuracy in %",
        "accuracy": "plain accuracy in %, as the paper plots",
    }
    panels = [panel for panel in results["panels"] if _models_of(results, panel)]
    # Comparisons are of balanced accuracy alone.
    compared = measure == "balanced_accuracy" and any(
        c["eps"] for panel in panels for c in _differences(results, panel)
    )
    columns, parts = min(2, len(panels)), 2 if compared else 1
    # Two panels per row, rounded up.
    rows = parts * -(-len(panels) // 2)
    width = WIDTH if columns > 1 else 0.6 * WIDTH
    with drawing(path, rows, columns, 2.6 * rows + 0.6, "row", width) as (figure, axes):
        for axis in axes.flat[parts * len(panels) :]:
            axis.set_axis_off()
        for number, panel in enumerate(panels):
            row, column = parts * (number // 2), number % 2
            _draw_panel(axes[row, column], results, panel, measure)
            if compared:
                _draw_difference(axes[row + 1, column], axes[row, column], results, panel)
            axes[row + parts - 1, column].set_xlabel(eps_label(results))
        for row, axis in enumerate(axes[:, 0]):
            if row % parts:
                against = style_of(results["layout"]["undefended"], results)["name"]
                axis.set_ylabel(f"difference to {against}\nin points, paired")
            else:
                axis.set_ylabel(labels[measure])
        name_lines(figure, axes)


def eps_label(results: CountermeasureResults) -> str:
    """What epsilon is measured in, of attacks that agree in it."""
    settings = [entry.get("settings") or {} for entry in results["attack"].values()]
    units = {setting.get("unit") for setting in settings}
    unit = units.pop() if len(units) == 1 else None
    return EPS_LABELS.get(str(unit), "ε in the unit of what is attacked")


def _draw_panel(
    axis: "Axes", results: CountermeasureResults, panel: PanelOf, measure: Accuracy
) -> None:
    names = results["layout"].get("architectures", {})
    variants = f"{names.get(panel['architecture'], panel['architecture'])} and its variants"
    source = f" from {panel['source']}" if panel["source"] else ""
    axis.set_title(f"{panel['label']})  {method_name(panel['method'])}{source} on {variants}")
    # Markers at 0 and 100 % should not be cut off.
    axis.set_ylim(-2, 102)
    attacked = results["trials"]["attacked"]
    share = 100.0 * attacked["spoof"] / (attacked["spoof"] + attacked["bonafide"])
    balanced = measure == "balanced_accuracy"
    axis.axhline(
        CHANCE if balanced else share, color="0.6", linestyle=":", linewidth=1.2,
        label="constant answer" if balanced else "always 'spoof'", zorder=0,
    )  # fmt: skip
    # For the legend: every variant has such a line in its own colour.
    axis.plot([], [], color="0.2", linestyle="--", linewidth=1.2, label="random signs")
    cells = [c for c in results["cells"] if c["source"] == panel["source"]]
    models = _models_of(results, panel)
    own = {m["name"]: [c for c in cells if c["target"] == m["name"]] for m in models}
    eps = sorted({c["eps"] for same in own.values() for c in same})
    # The clean point stands left of the lowest epsilon: the axis is logarithmic.
    clean = eps[0] / 2.5
    for number, model in enumerate(models):
        # Models stand a little apart, so that their intervals do not hide each other.
        shift = 1.025 ** (number - (len(models) - 1) / 2)
        style = style_of(model["variant"], results)
        for method in (panel["method"], NOISE):
            same = [c for c in own[model["name"]] if c["method"] == method]
            x = [shift * place for place in (clean, *(c["eps"] for c in same))]
            values = [model["attacked_clean"][measure], *(c[measure] for c in same)]
            line = {"color": style["colour"], "linewidth": 1.6, "marker": style["marker"]}
            if same and method == NOISE:
                y = np.array([value[0] for value in values], dtype=np.float64)
                axis.plot(x, y, color=style["colour"], linestyle="--", linewidth=1.2, alpha=0.75)
            elif same:
                curve(axis, x, values, {**line, "label": style["name"]}, bars=True)
    axis.set_xscale("log")
    ticks = labels_apart(eps)
    axis.set_xticks([clean, *ticks], ["clean", *(f"{e:g}" for e in ticks)])
    # Over a short range a logarithmic axis labels its minor ticks as well.
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.25)
    # Of features a ratio in dB says little.
    of_source = results["attack"].get(panel["source"] or "")
    if of_source and (of_source["settings"] or {}).get("space") == "waveform":
        levels = of_source["by_eps"].get(f"snr_{panel['method']}", {})
        snr_axis(axis, ticks, [levels.get(f"{e:g}") for e in ticks])


def _differences(results: CountermeasureResults, panel: PanelOf) -> list[Comparison]:
    """Comparisons of a panel with its model without defence, without attack the first."""
    undefended = results["layout"].get("undefended")
    bases = [m["name"] for m in _models_of(results, panel) if m["variant"] == undefended]
    shown = {("clean", None), (panel["method"], panel["source"])}
    found = [c for c in results["comparisons"] if c["baseline"] in bases]
    found = [c for c in found if (c["method"], c["source"]) in shown]
    return sorted(found, key=lambda c: c["eps"] or 0.0)


def _draw_difference(
    axis: "Axes", above: "Axes", results: CountermeasureResults, panel: PanelOf
) -> None:
    """What each variant keeps beyond the one without defence, below its panel."""
    differences, models = _differences(results, panel), _models_of(results, panel)
    # The first tick of the panel above is that of no attack.
    clean = above.get_xticks()[0]
    axis.axhline(0.0, color="0.6", linewidth=1.0, zorder=0)
    for number, model in enumerate(models):
        shift = 1.025 ** (number - (len(models) - 1) / 2)
        style = style_of(model["variant"], results)
        own = [c for c in differences if c["target"] == model["name"]]
        line = {"color": style["colour"], "linewidth": 1.6, "marker": style["marker"]}
        x = [shift * (c["eps"] or clean) for c in own]
        curve(axis, x, [c["difference"] for c in own], line, bars=True)
    axis.set_xscale("log")
    axis.set_xticks(above.get_xticks(), [label.get_text() for label in above.get_xticklabels()])
    axis.set_xticks([], minor=True)
    axis.set_xlim(above.get_xlim())
    axis.grid(alpha=0.25)


def _models_of(results: CountermeasureResults, panel: PanelOf) -> list[ModelResult]:
    """The models of a panel of which there are scores."""
    shown = (panel["source"], panel["method"])
    targets = {c["target"] for c in results["cells"] if (c["source"], c["method"]) == shown}
    models = [m for m in results["models"] if m["architecture"] == panel["architecture"]]
    return [m for m in models if m["name"] in targets]


def labels_apart(eps: Sequence[float]) -> list[float]:
    """Those epsilons, from the largest down, whose labels do not touch."""
    kept: list[float] = []
    # A panel has room for about 18 labels.
    least = (eps[-1] / eps[0]) ** (1 / 18)
    for value in reversed(eps):
        if not kept or kept[-1] / value >= max(least, 1.3):
            kept.append(value)
    return kept[::-1]


def transfer(results: CountermeasureResults, path: str | Path) -> None:
    """Heat map of balanced accuracy, source by target, of the attack of the layout.

    A row of its own for no attack, and one for random signs of the same size, the mean over the
    sources: these differ in nothing but their size. Chance has no colour.

    Args:
        results: of `results.json`.
        path: the picture.
    """
    heat_map = results["layout"]["heat_map"]
    method, eps = heat_map["method"], heat_map["eps"]
    found = {
        (c["method"], c["source"], c["target"]): c["balanced_accuracy"][0]
        for c in results["cells"]
        if c["eps"] == eps and c["method"] in (method, NOISE)
    }
    names = [m["name"] for m in results["models"]]
    sources = [n for n in names if any(source == n for _, source, _ in found)]
    targets = [n for n in names if any(target == n for _, _, target in found)]
    clean = {m["name"]: m["attacked_clean"] for m in results["models"] if m["seeds"]}
    rows = [[clean[t]["balanced_accuracy"][0] for t in targets]]
    rows += [[_mean(found.get((NOISE, s, t)) for s in sources) for t in targets]]
    rows += [[_mean([found.get((method, s, t))]) for t in targets] for s in sources]
    with drawing(path, 1, 1, 2.2 + 0.28 * len(rows)) as (figure, axes):
        axis = axes[0, 0]
        # This grey shows where a cell was not measured.
        axis.set_facecolor("0.9")
        # A diverging map: its middle, which is chance, is white.
        image = axis.imshow(rows, cmap="PuOr", vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(np.array(rows, dtype=float)):
            text = "-" if np.isnan(value) else f"{value:.0f}"
            # Cells far from chance are dark.
            colour = "white" if abs(value - CHANCE) > 35.0 else "black"
            axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        axis.set_yticks(range(len(rows)), ["no attack", f"{method_name(NOISE)} (mean)", *sources])
        axis.set_xticks(
            range(len(targets)), targets, rotation=45, ha="right", rotation_mode="anchor"
        )
        # Lines set off the rows of no attack and of noise, which are not sources.
        for row in (0.5, 1.5):
            axis.axhline(row, color="white", linewidth=3)
        axis.set_title(f"{method_name(method)} and {method_name(NOISE)}, ε {eps:g}")
        axis.set(xlabel="model that is attacked", ylabel="model that the attack is made on")
        bar = figure.colorbar(image, ax=axis, label="balanced accuracy in %")
        bar.set_ticks([0, 25, CHANCE, 75, 100], labels=["0", "25", "50\nchance", "75", "100"])


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else np.nan


def score_histograms(results: CountermeasureResults, path: str | Path) -> None:
    """Scores of bona fide and spoof trials, a row per countermeasure, a column per epsilon."""
    entries = results["histograms"]
    targets = list(dict.fromkeys(e["target"] for e in entries))
    columns: list[float | None] = [None, *sorted({e["eps"] for e in entries if e["eps"]})]
    found = {(e["target"], e["eps"]): e for e in entries}
    with drawing(path, len(targets), len(columns), 1.5 * len(targets) + 0.8, "x") as (figure, axes):
        for (row, column), axis in np.ndenumerate(axes):
            if entry := found.get((targets[row], columns[column])):
                _draw_histogram(axis, entry)
            else:
                axis.set_visible(False)
        for axis, eps in zip(axes[0], columns, strict=True):
            attack = f"{method_name(entries[0]['method'])}, ε {eps:g}" if eps else "no attack"
            axis.set_title(attack)
        for axis, target in zip(axes[:, 0], targets, strict=True):
            axis.set_ylabel(f"{target}\nshare in %")
        figure.supxlabel("score less threshold, in standard deviations of clean scores", fontsize=9)
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2,
            frameon=False,
        )  # fmt: skip


def _draw_histogram(axis: "Axes", entry: Histogram) -> None:
    highest = 0.0
    for key, label, colour in CLASSES:
        share = 100.0 * np.array(entry[key]) / max(1, sum(entry[key]))
        axis.stairs(share, entry["edges"], fill=True, alpha=0.35, color=colour, label=label)
        axis.stairs(share, entry["edges"], color=colour, linewidth=1.2)
        highest = max(highest, *share)
    axis.axvline(0.0, color="0.3", linestyle=":", linewidth=1.2)
    axis.set_ylim(0, 1.35 * highest)


def figure_3(results: CountermeasureResults, path: str | Path) -> None:
    """LNSR against the layer, pretrained and random, a row per norm, a column per epsilon.

    The paper shows PGD at epsilon 8 and 16 in the Frobenius norm; up to two smaller epsilons
    stand to their left.
    """
    from matplotlib.ticker import MaxNLocator

    lnsr = results["lnsr"]
    assert lnsr is not None, "the plan has this figure only where there are curves"
    curves = [c for c in lnsr["curves"] if not c["centred"]]
    curves = [c for c in curves if c["perturbation"] in ("pgd", NOISE)]
    norms = [n for n in ("frobenius", "spectral") if any(c["norm"] == n for c in curves)]
    eps = chosen_eps(sorted({c["eps"] for c in curves}), results["layout"].get("lnsr_eps", []))
    variants = results["layout"].get("lnsr_variants", {})
    with drawing(path, len(norms), len(eps), 2.4 * len(norms) + 1.0, "x") as (figure, axes):
        for (row, column), axis in np.ndenumerate(axes):
            for c in curves:
                if (c["norm"], c["eps"]) != (norms[row], eps[column]):
                    continue
                style = style_of(variants.get(c["model"], c["model"]), results)
                values = [*zip(c["mean"], c["low"], c["high"], strict=True)]
                attack = c["perturbation"] != NOISE
                line = {
                    "color": style["colour"],
                    "marker": style["marker"] if attack else None,
                    "linestyle": "-" if attack else "--",
                    "alpha": 1.0 if attack else 0.75,
                    "label": f"{c['model']}, {method_name(c['perturbation'])}",
                }
                curve(axis, range(len(values)), values, line)
            axis.set_yscale("log")
            # Powers of ten alone may leave a panel without any label.
            axis.yaxis.set_major_locator(MaxNLocator(5))
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
            axis.set_yticks([], minor=True)
            axis.set_xticks(
                range(len(lnsr["layers"])), lnsr["layers"], rotation=45, ha="right",
                rotation_mode="anchor",
            )  # fmt: skip
            axis.grid(alpha=0.25)
        for axis, below, value in zip(axes[0], axes[-1], eps, strict=True):
            axis.set_title(f"ε {value:g}")
            below.set_xlabel("layer")
        for axis, norm in zip(axes[:, 0], norms, strict=True):
            axis.set_ylabel(f"LNSR, {norm.capitalize()} norm")
        name_lines(figure, axes)


def chosen_eps(eps: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """The epsilons of the layout that exist, and some of the others, evenly spread."""
    first = [e for e in eps if e in wanted]
    others = [e for e in eps if e not in first]
    room = WIDEST_LNSR - len(first)
    if len(others) > room:
        places = np.linspace(0, len(others) - 1, room).round().astype(int)
        others = [others[place] for place in places]
    return sorted([*others, *first])
