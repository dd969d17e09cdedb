"""Figures of the countermeasure half, from results.json.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; a variant
has the same colour and marker in every panel and figure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from espnet_ext.data.files import write_figure
from espnet_ext.data.ids import file_of
from espnet_ext.report.countermeasure_tables import Entry, method_name
from espnet_ext.report.figures import load_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = {
    "mel": ("#4d4d4d", "o"),
    "mock": ("#d55e00", "s"),
    "rand": ("#e69f00", "D"),
    "scratch": ("#0072b2", "."),
    "median": ("#009e73", "^"),
    "mean": ("#56b4e9", "v"),
    "gaussian": ("#cc79a7", "P"),
}
# Lists on other features than log-mels call the undefended model "mel" too.
LEGEND = {"mel": "no defence"}
OTHER_STYLES = [("#000000", "x"), ("#7a5195", "*"), ("#8c6d31", "<"), ("#5f8a00", ">")]
MEASURES = {
    "balanced_accuracy": "balanced accuracy in %",
    "accuracy": "plain accuracy in %, as the paper plots",
}
CAPTIONS = {
    "figure_2": "Figure 2 of the paper in balanced accuracy, with 95 % intervals over speakers and "
    "training seeds. Dashed: random signs of the same ε. 50 % is a constant answer.",
    "figure_2_plain": "The same in plain accuracy, which is what the paper plots. Dotted: the "
    "accuracy of always answering 'spoof'.",
    "transfer": "Balanced accuracy of each target under {method} at ε {eps} from each source, and "
    "under random signs of the same ε.",
    "histograms": "Scores before and under PGD from the source of Figure 2. 0 is the threshold; "
    "the outer bins hold all that lies beyond.",
    "figure_3": "Figure 3 of the paper: noise-to-signal ratio by layer, mean over pairs. Dashed: "
    "random signs of the same ε. The band spans the training seeds.",
}
EPS_LABELS = {
    "std": "ε in standard deviations of each feature",
    "db": "ε in dB",
}
MODEL_VARIANT = {"pretrained": "mock", "random": "rand"}
WIDEST_LNSR = 4


def draw_all(results: Entry, output_dir: str | Path) -> dict[str, str]:
    """Draw every figure that the results have data for.

    Args:
        results: of `results.json`.
        output_dir: where the pictures go.

    Returns:
        captions by name of picture, in the order of the report.

    Raises:
        InputError: matplotlib is not installed.
    """
    for name, draw, _ in _plan(results):
        draw(results, file_of(output_dir, name))
    return captions(results)


def captions(results: Entry) -> dict[str, str]:
    """Captions of the pictures that `draw_all` makes of these results, by name."""
    return {name: caption for name, _, caption in _plan(results)}


def _plan(results: Entry) -> Iterator[tuple[str, Callable[[Entry, Path], None], str]]:
    """Name, drawing and caption of each picture."""
    method, eps = results["options"]["transfer_method"], results["options"]["transfer_eps"]
    if results["cells"]:
        yield "figure2.png", figure_2, CAPTIONS["figure_2"]
        yield "figure2_plain.png", figure_2_plain, CAPTIONS["figure_2_plain"]
    if any((c["method"], c["eps"]) == (method, eps) for c in results["cells"]):
        caption = CAPTIONS["transfer"].format(method=method_name(method), eps=f"{eps:g}")
        yield f"transfer_{method}_{eps:g}.png", transfer, caption
    if results["histograms"]:
        yield "histograms.png", score_histograms, CAPTIONS["histograms"]
    if results["lnsr"]:
        yield "figure3.png", figure_3, CAPTIONS["figure_3"]


@contextmanager
def _figure(path: str | Path, rows: int, columns: int, **options: Any) -> Iterator[Any]:
    """A grid of axes (rows, columns) that is written to `path` at the end."""
    pyplot = load_pyplot()
    with pyplot.rc_context({"font.size": 10, "axes.titlesize": 11, "savefig.dpi": 150}):
        figure, axes = pyplot.subplots(rows, columns, squeeze=False, **options)
        try:
            yield figure, axes
            write_figure(figure, path, bbox_inches="tight")
        finally:
            pyplot.close(figure)


def style_of(variant: str, variants: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a variant.

    Args:
        variant: its name.
        variants: all of the report, so that others than the paper's differ from each other.
    """
    if variant in STYLES:
        return STYLES[variant]
    others = [name for name in dict.fromkeys(variants) if name not in STYLES]
    return OTHER_STYLES[others.index(variant) % len(OTHER_STYLES)]


def figure_2(results: Entry, path: str | Path, measure: str = "balanced_accuracy") -> None:
    """Accuracy against epsilon, four panels as in Figure 2 of Wu et al. 2020.

    Args:
        results: of `results.json`.
        path: the picture.
        measure: balanced_accuracy or accuracy.
    """
    with _figure(path, 2, 2, figsize=(12.5, 9.0), sharey=True) as (figure, axes):
        for axis, panel in zip(axes.flat, results["panels"], strict=True):
            _panel(axis, results, panel, measure)
        for axis in axes[:, 0]:
            axis.set_ylabel(MEASURES[measure])
        for axis in axes[1]:
            axis.set_xlabel(eps_label(results))
        handles = _legend_of(axes)
        figure.tight_layout()
        figure.legend(
            handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
            ncol=5, frameon=False,
        )  # fmt: skip


def eps_label(results: Entry) -> str:
    """What epsilon is measured in, of attacks that agree in it."""
    settings = [entry.get("settings") or {} for entry in results["attack"].values()]
    units = {setting.get("unit") for setting in settings}
    unit = units.pop() if len(units) == 1 else None
    return EPS_LABELS.get(str(unit), "ε in the unit of what is attacked")


def figure_2_plain(results: Entry, path: str | Path) -> None:
    """`figure_2` in plain accuracy."""
    figure_2(results, path, "accuracy")


def _legend_of(axes: np.ndarray) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def _panel(axis: "Axes", results: Entry, panel: Entry, measure: str) -> None:
    cells = [c for c in results["cells"] if c["source"] == panel["source"]]
    models = [
        m
        for m in results["models"]
        if m["architecture"] == panel["architecture"]
        and any((c["target"], c["method"]) == (m["name"], panel["method"]) for c in cells)
    ]
    axis.set_title(_panel_title(panel))
    axis.set_ylim(-2, 102)
    _chance(axis, results, measure)
    if not models:
        axis.text(0.5, 0.4, "no scores of this attack", ha="center", transform=axis.transAxes)
        return
    names = {m["name"] for m in models}
    eps = sorted({c["eps"] for c in cells if c["target"] in names})
    variants = [m["variant"] for m in results["models"]]
    for number, model in enumerate(models):
        own = [c for c in cells if c["target"] == model["name"]]
        shift = 1.025 ** (number - (len(models) - 1) / 2)
        _curves(axis, model, own, panel["method"], measure, eps[0], shift, variants)
    _eps_axis(axis, eps)


def _panel_title(panel: Entry) -> str:
    names = {"lcnn": "LCNN", "senet": "SENet"}
    variants = f"{names[panel['architecture']]} and its variants"
    source = f" from {panel['source']}" if panel["source"] else ""
    return f"{panel['label']})  {method_name(panel['method'])}{source} on {variants}"


def _chance(axis: "Axes", results: Entry, measure: str) -> None:
    attacked = results["trials"]["attacked"]
    share = 100.0 * attacked["spoof"] / (attacked["spoof"] + attacked["bonafide"])
    label = "constant answer" if measure == "balanced_accuracy" else "always 'spoof'"
    value = 50.0 if measure == "balanced_accuracy" else share
    axis.axhline(value, color="0.6", linestyle=":", linewidth=1.2, label=label, zorder=0)
    # For the legend: every variant has such a line in its own colour.
    axis.plot([], [], color="0.2", linestyle="--", linewidth=1.2, label="random signs")


def _curves(
    axis: "Axes",
    model: Entry,
    cells: Sequence[Entry],
    method: str,
    measure: str,
    lowest: float,
    shift: float,
    variants: Sequence[str],
) -> None:
    """The attack with intervals, and the control dashed; points start at the clean accuracy."""
    colour, marker = style_of(model["variant"], variants)
    clean = (_clean_place(lowest), model["attacked_clean"][measure])
    attack = [clean] + [(c["eps"], c[measure]) for c in cells if c["method"] == method]
    control = [clean] + [(c["eps"], c[measure]) for c in cells if c["method"] == "noise"]
    x = [place * shift for place, _ in attack]
    values = [value for _, value in attack]
    axis.errorbar(
        x, [v[0] for v in values], yerr=_bars(values), color=colour, marker=marker,
        markersize=5, linewidth=1.6, elinewidth=0.8,
        label=LEGEND.get(model["variant"], model["variant"]),
    )  # fmt: skip
    if len(control) > 1:
        axis.plot(
            [place * shift for place, _ in control], [value[0] for _, value in control],
            color=colour, linestyle="--", linewidth=1.2, alpha=0.75,
        )  # fmt: skip


def _clean_place(lowest: float) -> float:
    """Where the clean point stands on the logarithmic axis: left of the lowest epsilon."""
    return lowest / 2.5


def _bars(values: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Lengths of the error bars (2, N); zero without an interval."""
    known = [
        (v[0], v[0], v[0]) if v[1] is None or v[2] is None else (v[0], v[1], v[2]) for v in values
    ]
    point, low, high = np.array(known, dtype=float).T
    return np.stack([point - low, high - point]).clip(min=0.0)


def _eps_axis(axis: "Axes", eps: Sequence[float]) -> None:
    axis.set_xscale("log")
    ticks = [_clean_place(eps[0]), *_spread(eps)]
    axis.set_xticks(ticks, ["clean", *(f"{e:g}" for e in ticks[1:])])
    axis.set_xticks([], minor=True)
    axis.grid(alpha=0.25)


def _spread(eps: Sequence[float]) -> list[float]:
    """Those epsilons, from the largest down, whose labels do not touch."""
    kept: list[float] = []
    least = (eps[-1] / eps[0]) ** (1 / 18)
    for value in reversed(eps):
        if not kept or kept[-1] / value >= max(least, 1.3):
            kept.append(value)
    return kept[::-1]


def transfer(results: Entry, path: str | Path) -> None:
    """Heat maps of balanced accuracy, source by target: the chosen attack and the control.

    Args:
        results: of `results.json`; method and epsilon are among its options.
        path: the picture.
    """
    method, eps = results["options"]["transfer_method"], results["options"]["transfer_eps"]
    chosen = [c for c in results["cells"] if c["eps"] == eps and c["method"] in (method, "noise")]
    names = [m["name"] for m in results["models"]]
    sources = [n for n in names if any(c["source"] == n for c in chosen)]
    targets = [n for n in names if any(c["target"] == n for c in chosen)]
    size = (1.6 + 0.62 * len(targets), 2 * (1.1 + 0.45 * (len(sources) + 1)) + 1.2)
    with _figure(path, 2, 1, figsize=size, sharex=True, layout="constrained") as (figure, axes):
        for axis, shown in zip(axes[:, 0], (method, "noise"), strict=True):
            cells = [c for c in chosen if c["method"] == shown]
            image = _heat_map(axis, results, cells, sources, targets)
            axis.set_title(f"{method_name(shown)}, ε {eps:g}")
        axes[1, 0].set_xlabel("target")
        figure.colorbar(image, ax=axes, label="balanced accuracy in %", shrink=0.8)


def _heat_map(
    axis: "Axes",
    results: Entry,
    cells: Sequence[Entry],
    sources: Sequence[str],
    targets: Sequence[str],
) -> Any:
    clean = {m["name"]: m["attacked_clean"] for m in results["models"] if m["seeds"]}
    found = {(c["source"], c["target"]): c["balanced_accuracy"][0] for c in cells}
    rows = [[clean[t]["balanced_accuracy"][0] for t in targets]]
    rows += [[found.get((s, t), np.nan) for t in targets] for s in sources]
    image = axis.imshow(rows, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(np.array(rows)):
        text, colour = ("-", "0.4") if np.isnan(value) else (f"{value:.0f}", _on_map(value))
        axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axis.set_yticks(range(len(rows)), ["no attack", *sources])
    axis.set_xticks(range(len(targets)), targets, rotation=45, ha="right", rotation_mode="anchor")
    axis.axhline(0.5, color="white", linewidth=2)
    return image


def _on_map(value: float) -> str:
    return "white" if value < 55.0 else "black"


def score_histograms(results: Entry, path: str | Path) -> None:
    """Scores of bona fide and spoof trials, a row a countermeasure, a column an epsilon."""
    entries = results["histograms"]
    targets = list(dict.fromkeys(e["target"] for e in entries))
    columns: list[float | None] = [None, *sorted({e["eps"] for e in entries if e["eps"]})]
    found = {(e["target"], e["eps"]): e for e in entries}
    size = (3.0 * len(columns) + 0.6, 2.1 * len(targets) + 0.8)
    grid = _figure(path, len(targets), len(columns), figsize=size, sharex=True)
    with grid as (figure, axes):
        for (row, column), axis in np.ndenumerate(axes):
            entry = found.get((targets[row], columns[column]))
            _histogram(axis, entry)
            if row == 0:
                eps = columns[column]
                axis.set_title("no attack" if eps is None else f"PGD, ε {eps:g}")
        for axis, target in zip(axes[:, 0], targets, strict=True):
            axis.set_ylabel(f"{target}\nshare in %")
        figure.supxlabel(
            "score less threshold, in standard deviations of clean scores", fontsize=10
        )
        axes[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
        figure.tight_layout()


def _histogram(axis: "Axes", entry: Entry | None) -> None:
    if entry is None:
        axis.text(0.5, 0.5, "missing", ha="center", transform=axis.transAxes)
        return
    for key, label, colour in (
        ("spoof", "spoof", "#d55e00"),
        ("bonafide", "bona fide", "#0072b2"),
    ):
        share = 100.0 * np.array(entry[key]) / max(1, sum(entry[key]))
        axis.stairs(share, entry["edges"], fill=True, alpha=0.35, color=colour, label=label)
        axis.stairs(share, entry["edges"], color=colour, linewidth=1.2)
    axis.axvline(0.0, color="0.3", linestyle=":", linewidth=1.2)
    highest = max(100.0 * max(entry[k]) / max(1, sum(entry[k])) for k in ("spoof", "bonafide"))
    axis.set_ylim(0, 1.35 * highest)


def figure_3(results: Entry, path: str | Path) -> None:
    """LNSR against the layer, pretrained and random, a row a norm, a column an epsilon.

    The paper shows PGD at epsilon 8 and 16 in the Frobenius norm; up to two smaller epsilons
    stand to their left.
    """
    curves = [c for c in results["lnsr"]["curves"] if not c["centred"]]
    norms = [n for n in ("frobenius", "spectral") if any(c["norm"] == n for c in curves)]
    eps = _chosen_eps(sorted({c["eps"] for c in curves}))
    size = (3.3 * len(eps) + 0.6, 3.2 * len(norms) + 0.6)
    grid = _figure(path, len(norms), len(eps), figsize=size, sharex=True)
    with grid as (figure, axes):
        for (row, column), axis in np.ndenumerate(axes):
            same = [c for c in curves if (c["norm"], c["eps"]) == (norms[row], eps[column])]
            _ratios(axis, same, results["lnsr"]["layers"])
            if row == 0:
                axis.set_title(f"ε {eps[column]:g}")
        for axis, norm in zip(axes[:, 0], norms, strict=True):
            axis.set_ylabel(f"LNSR, {norm.capitalize()} norm")
        handles = _legend_of(axes)
        figure.tight_layout()
        figure.legend(
            handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
            ncol=4, frameon=False,
        )  # fmt: skip


def _chosen_eps(eps: Sequence[float]) -> list[float]:
    """The paper's 8 and 16 as far as they are there, and smaller ones, spread out."""
    paper = [e for e in eps if e in (8.0, 16.0)]
    others = [e for e in eps if e not in paper]
    room = WIDEST_LNSR - len(paper)
    if len(others) > room:
        places = np.linspace(0, len(others) - 1, room).round().astype(int)
        others = [others[place] for place in places]
    return sorted([*others, *paper])


def _ratios(axis: "Axes", curves: Sequence[Mapping[str, Any]], layers: Sequence[str]) -> None:
    x = range(len(layers))
    for curve in curves:
        if curve["perturbation"] not in ("pgd", "noise"):
            continue
        colour, marker = STYLES[MODEL_VARIANT.get(curve["model"], "mel")]
        attack = curve["perturbation"] == "pgd"
        axis.plot(
            x, curve["mean"], color=colour, marker=marker if attack else None, markersize=5,
            linestyle="-" if attack else "--", alpha=1.0 if attack else 0.75,
            label=f"{curve['model']}, {method_name(curve['perturbation'])}",
        )  # fmt: skip
        axis.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axis.yaxis.set_minor_formatter(lambda value, _: f"{value:.3g}")
    axis.tick_params(which="both", labelsize=8)
    axis.set_xticks(x, layers, rotation=45, ha="right", rotation_mode="anchor")
    axis.grid(alpha=0.25, which="both")
