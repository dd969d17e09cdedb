"""Figures of the countermeasure half, from results.json, in panels and styles of its layout."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.report.figures import (
    Picture,
    curve,
    drawing,
    legend_below,
    success_picture,
)
from espnet_ext.report.layout import Style
from espnet_ext.report.results import CountermeasureResults, Histogram, PanelOf
from espnet_ext.report.tables import MISSING
from espnet_ext.report.wording import method_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Accuracy = Literal["balanced_accuracy", "accuracy"]
OTHER_STYLES = [("#000000", "x"), ("#7a5195", "*"), ("#8c6d31", "<"), ("#5f8a00", ">")]
EPS_LABELS = {"std": "ε in standard deviations of each feature", "db": "ε in dB"}
CLASSES: tuple[tuple[Literal["spoof", "bonafide"], str, str], ...] = (
    ("spoof", "spoof", "#d55e00"),
    ("bonafide", "bona fide", "#0072b2"),
)
WIDEST_LNSR = 4  # columns
MOST_SOURCES = 4  # of curves of success


def countermeasure_pictures(results: CountermeasureResults) -> Iterator[Picture]:
    """Every picture that the results have data for."""
    if results["cells"] and results["panels"]:
        yield Picture(
            "figure2.png",
            partial(figure_2, results),
            "Curves of balanced accuracy against ε, a panel an attack",
            "Figure 2 of the paper in balanced accuracy, with 95 % intervals over speakers and "
            "training seeds. Dashed: random signs of the same ε. 50 % is a constant answer.",
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
                "Heat maps of balanced accuracy, source by target",
                f"Balanced accuracy of each target under {method_name(method)} at ε {eps:g} from "
                "each source, and under random signs of the same ε.",
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
    rows = (len(results["panels"]) + 1) // 2
    with drawing(path, rows, 2, (12.5, 4.5 * rows), share="y") as (figure, axes):
        for axis, panel in zip(axes.flat, results["panels"], strict=False):
            _draw_panel(axis, results, panel, measure)
        for axis in axes[:, 0]:
            axis.set_ylabel(labels[measure])
        for axis in axes[-1]:
            axis.set_xlabel(eps_label(results))
        legend_below(figure, axes, 5)


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
    axis.set_ylim(-2, 102)
    attacked = results["trials"]["attacked"]
    share = 100.0 * attacked["spoof"] / (attacked["spoof"] + attacked["bonafide"])
    balanced = measure == "balanced_accuracy"
    axis.axhline(
        50.0 if balanced else share, color="0.6", linestyle=":", linewidth=1.2,
        label="constant answer" if balanced else "always 'spoof'", zorder=0,
    )  # fmt: skip
    # For the legend: every variant has such a line in its own colour.
    axis.plot([], [], color="0.2", linestyle="--", linewidth=1.2, label="random signs")
    cells = [c for c in results["cells"] if c["source"] == panel["source"]]
    shown = {c["target"] for c in cells if c["method"] == panel["method"]}
    models = [m for m in results["models"] if m["architecture"] == panel["architecture"]]
    models = [m for m in models if m["name"] in shown]
    if not models:
        axis.text(0.5, 0.4, "no scores of this attack", ha="center", transform=axis.transAxes)
        return
    own = {m["name"]: [c for c in cells if c["target"] == m["name"]] for m in models}
    eps = sorted({c["eps"] for same in own.values() for c in same})
    # The clean point stands left of the lowest epsilon: the axis is logarithmic.
    clean = eps[0] / 2.5
    for number, model in enumerate(models):
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
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.25)


def labels_apart(eps: Sequence[float]) -> list[float]:
    """Those epsilons, from the largest down, whose labels do not touch."""
    kept: list[float] = []
    least = (eps[-1] / eps[0]) ** (1 / 18)
    for value in reversed(eps):
        if not kept or kept[-1] / value >= max(least, 1.3):
            kept.append(value)
    return kept[::-1]


def transfer(results: CountermeasureResults, path: str | Path) -> None:
    """Heat maps of balanced accuracy, source by target: the attack of the layout and the control.

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
    size = (1.6 + 0.62 * len(targets), 2 * (1.1 + 0.45 * (len(sources) + 1)) + 1.2)
    with drawing(path, 2, 1, size, share="x", layout="constrained") as (figure, axes):
        for axis, shown in zip(axes[:, 0], (method, NOISE), strict=True):
            rows = [[clean[t]["balanced_accuracy"][0] for t in targets]]
            rows += [[found.get((shown, s, t), np.nan) for t in targets] for s in sources]
            image = axis.imshow(rows, cmap="cividis", vmin=0, vmax=100, aspect="auto")
            for (row, column), value in np.ndenumerate(np.array(rows, dtype=float)):
                text, colour = ("-", "0.4") if np.isnan(value) else (f"{value:.0f}", "black")
                colour = "white" if value < 55.0 else colour
                axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
            axis.set_yticks(range(len(rows)), ["no attack", *sources])
            axis.set_xticks(
                range(len(targets)), targets, rotation=45, ha="right", rotation_mode="anchor"
            )
            axis.axhline(0.5, color="white", linewidth=2)
            axis.set_title(f"{method_name(shown)}, ε {eps:g}")
        axes[1, 0].set_xlabel("target")
        figure.colorbar(image, ax=axes, label="balanced accuracy in %", shrink=0.8)


def score_histograms(results: CountermeasureResults, path: str | Path) -> None:
    """Scores of bona fide and spoof trials, a row per countermeasure, a column per epsilon."""
    entries = results["histograms"]
    targets = list(dict.fromkeys(e["target"] for e in entries))
    columns: list[float | None] = [None, *sorted({e["eps"] for e in entries if e["eps"]})]
    found = {(e["target"], e["eps"]): e for e in entries}
    size = (3.0 * len(columns) + 0.6, 2.1 * len(targets) + 0.8)
    with drawing(path, len(targets), len(columns), size, share="x") as (figure, axes):
        for (row, column), axis in np.ndenumerate(axes):
            if entry := found.get((targets[row], columns[column])):
                _draw_histogram(axis, entry)
            else:
                axis.text(0.5, 0.5, MISSING, ha="center", transform=axis.transAxes)
        for axis, eps in zip(axes[0], columns, strict=True):
            attack = f"{method_name(entries[0]['method'])}, ε {eps:g}" if eps else "no attack"
            axis.set_title(attack)
        for axis, target in zip(axes[:, 0], targets, strict=True):
            axis.set_ylabel(f"{target}\nshare in %")
        figure.supxlabel(
            "score less threshold, in standard deviations of clean scores", fontsize=10
        )
        axes[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
        figure.tight_layout()


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
    lnsr = results["lnsr"]
    assert lnsr is not None, "the plan has this figure only where there are curves"
    curves = [c for c in lnsr["curves"] if not c["centred"]]
    curves = [c for c in curves if c["perturbation"] in ("pgd", NOISE)]
    norms = [n for n in ("frobenius", "spectral") if any(c["norm"] == n for c in curves)]
    eps = chosen_eps(sorted({c["eps"] for c in curves}), results["layout"].get("lnsr_eps", []))
    variants = results["layout"].get("lnsr_variants", {})
    size = (3.3 * len(eps) + 0.6, 3.2 * len(norms) + 0.6)
    with drawing(path, len(norms), len(eps), size, share="x") as (figure, axes):
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
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
            axis.yaxis.set_minor_formatter(lambda value, _: f"{value:.3g}")
            axis.tick_params(which="both", labelsize=8)
            axis.set_xticks(
                range(len(lnsr["layers"])), lnsr["layers"], rotation=45, ha="right",
                rotation_mode="anchor",
            )  # fmt: skip
            axis.grid(alpha=0.25, which="both")
        for axis, value in zip(axes[0], eps, strict=True):
            axis.set_title(f"ε {value:g}")
        for axis, norm in zip(axes[:, 0], norms, strict=True):
            axis.set_ylabel(f"LNSR, {norm.capitalize()} norm")
        legend_below(figure, axes, 4)


def chosen_eps(eps: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """Those of the layout as far as they are there, and others, spread out."""
    first = [e for e in eps if e in wanted]
    others = [e for e in eps if e not in first]
    room = WIDEST_LNSR - len(first)
    if len(others) > room:
        places = np.linspace(0, len(others) - 1, room).round().astype(int)
        others = [others[place] for place in places]
    return sorted([*others, *first])
