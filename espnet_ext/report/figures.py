"""Figures of both halves: a grid of axes that is written to a file, and one curve."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record, write_figure
from espnet_ext.errors import InputError
from espnet_ext.report.comparisons import size_of
from espnet_ext.report.results import AttackScores, CurvePoint, Numbers
from espnet_ext.report.wording import METHODS, budget_name, method_name

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Value = TypeVar("Value")


class Picture(NamedTuple):
    """A picture of a report.

    Attributes:
        name: of its file.
        draw: writes it to a path.
        alt: what it shows, for those who do not see it.
        caption: below it.
    """

    name: str
    draw: Callable[[Path], None]
    alt: str
    caption: str


SHOWN_BUDGETS = 3
LINES = ("-", "--", "-.")
DASHES = ("solid", "dashed", "dash-dotted")
WIDTH = 8.3  # inches; 830 px, as wide as a README, at 100 dots an inch
# Grey, colours of Okabe and Ito, which people with any colour vision tell apart, and four more.
COLOURS = (
    *("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#000000", "#7a5195", "#8c6d31", "#5f8a00"),
)
MARKERS = "osD^vPXx*<>"
LINE_HEIGHT = 0.15  # inches, of a label
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    # Text of an SVG stays text, and drawing a figure again gives the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "espnet_ext",
}


@contextmanager
def drawing(
    path: str | Path,
    rows: int,
    columns: int,
    height: float,
    share: str = "",
    width: float = WIDTH,
) -> Iterator[tuple["Figure", np.ndarray]]:
    """A figure and its grid of axes (rows, columns), written to `path` at the end.

    Args:
        path: the picture, .png, .svg or .pdf; a PNG gets an SVG beside it.
        rows: of the grid.
        columns: likewise.
        height: of the figure, in inches.
        share: "x", "y" or "row" for axes that have the same scale.
        width: of the figure, in inches.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("figures need matplotlib: pip install 'espnet_ext[report]'") from None
    # Machines of a cluster have no display.
    matplotlib.use("Agg")
    from matplotlib import pyplot

    path = Path(path)
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            rows, columns, squeeze=False, figsize=(width, height), layout="constrained",
            sharex=share == "x", sharey={"y": "all", "row": "row"}.get(share, "none"),
        )  # fmt: skip
        try:
            yield figure, axes
            # `page_parts.figure_of` counts on this resolution.
            write_figure(figure, path, dpi=150)
            if path.suffix == ".png":
                figure.set_layout_engine("none")  # it is laid out, which takes longest
                write_figure(figure, path.with_suffix(".svg"))
        finally:
            pyplot.close(figure)


def curve(
    axis: "Axes",
    x: Sequence[float | None] | range,
    values: Sequence[Numbers],
    style: Record,
    bars: bool = False,
) -> None:
    """Draw a measure as a curve, with its intervals where there are some; nothing without values.

    Args:
        axis: to draw on.
        x: where each value stands.
        values: of the measure, with low and high.
        style: of the line, as matplotlib takes it.
        bars: show the interval as bars and not as a band.
    """
    if not values:
        return
    places = np.array(x, dtype=np.float64)
    point, low, high = np.array(values, dtype=np.float64).reshape(-1, 3).T
    if bars:
        # A value without an interval gets bars of no length.
        lengths = np.nan_to_num(np.stack([point - low, high - point])).clip(min=0.0)
        axis.errorbar(places, point, yerr=lengths, markersize=5, elinewidth=0.8, **style)
        return
    (line,) = axis.plot(places, point, markersize=4, **style)
    if not np.isnan(low).any():
        axis.fill_between(places, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axis.grid(alpha=0.25)


def spread(values: Sequence[Value], most: int) -> list[Value]:
    """At most so many of the values, the first and the last among them.

    Example:
        >>> spread([1, 2, 3, 4, 5], 3)
        [1, 3, 5]
    """
    return [values[int(n)] for n in np.linspace(0, len(values) - 1, min(most, len(values))).round()]


def method_colour(method: str, shown: Sequence[str]) -> str:
    """The colour of an attack in figures that compare attacks; noise is grey.

    Args:
        method: the attack.
        shown: all attacks of the figure; those of no fixed colour get what is left.

    Example:
        >>> method_colour("noise", ["pgd", "noise"]), method_colour("pgd", ["pgd", "noise"])
        ('#4d4d4d', '#0072b2')
    """
    # The order of METHODS gives an attack the same colour in all figures.
    known = [NOISE, *(name for name in METHODS if name != NOISE)]
    known += [name for name in dict.fromkeys(shown) if name not in known]
    return COLOURS[known.index(method) % len(COLOURS)]


def snr_axis(axis: "Axes", places: Sequence[float], levels: Sequence[float | None]) -> None:
    """A second axis above, with the measured SNR at each place where it is known."""
    known = [(x, level) for x, level in zip(places, levels, strict=True) if level is not None]
    if known:
        above = axis.secondary_xaxis("top")
        above.set_xticks([x for x, _ in known], [f"{level:.0f}" for _, level in known])
        above.set_xticks([], minor=True)
        above.set_xlabel("median SNR in dB")


def success_curves(rows: Mapping[str, Sequence[AttackScores | CurvePoint]], path: Path) -> None:
    """Success against budget, steps, and what was asked of the model; of any kind of model.

    Against the budget after the last step of each attack, where noise of the same size is dotted.
    Against steps and what was asked where an attack has several steps, of at most `SHOWN_BUDGETS`
    budgets.

    Args:
        rows: scores of attacks by what was attacked, a row of panels each.
        path: the picture.
    """
    attacks = {name: [p for p in points if p["step"]] for name, points in rows.items()}
    every = [p for points in attacks.values() for p in points]
    kept: dict[tuple[str, str], set[int]] = {}
    for p in every:
        kept.setdefault((p["method"], p["budget"]), set()).add(p["step"])
    several = any(len(steps) > 1 for steps in kept.values())
    asked = several and any(_asked(p) for p in every)
    # A single budget makes no curve; it is drawn only where there is nothing else.
    against = len({p["budget"] for p in every}) > 1 or not several
    shown = [p["method"] for p in every]
    columns = against + several + asked
    # One panel alone is not as wide.
    width = WIDTH if columns > 1 else 0.6 * WIDTH
    with drawing(path, len(rows), columns, 2.7 * len(rows) + 0.4, "y", width) as (figure, axes):
        for (name, points), panels in zip(attacks.items(), axes, strict=True):
            panels[0].set_title(name)
            _draw_success(panels[:against], panels[int(against) :], points, shown)
        name_lines(figure, axes)


def _draw_success(
    against: np.ndarray,
    others: np.ndarray,
    points: Sequence[AttackScores | CurvePoint],
    shown: Sequence[str],
) -> None:
    """Draw one row of `success_curves`.

    Args:
        against: the panel against the budget, if there is one.
        others: those against steps and what was asked.
        points: of one model.
        shown: all attacks of the figure.
    """
    budgets = sorted({p["budget"] for p in points}, key=size_of)
    dashes = dict(zip(spread(budgets, SHOWN_BUDGETS), LINES, strict=False))
    loudness: dict[str, float] = {}
    for method in dict.fromkeys(p["method"] for p in points):
        own = [p for p in points if p["method"] == method]
        last = {p["budget"]: p for p in own}  # steps ascend
        noise, colour = method == NOISE, method_colour(method, shown)
        line: Record = {"color": colour, "label": method_name(method)}
        line |= {"marker": "o", "linestyle": ":" if noise else "-"}
        if len(against):
            at = [budgets.index(tag) for tag in last]
            curve(against[0], at, [p["success_rate"] for p in last.values()], line)
        elif noise:  # it needs no steps and no queries: a horizontal line
            for axis, p in product(others, own):
                axis.axhline(p["success_rate"][0], **{**line, "marker": None})
        if noise:
            continue
        measured = {tag: p.get("snr_median") for tag, p in last.items()}
        loudness |= {t: snr for t, snr in measured.items() if isinstance(snr, float)}
        for (tag, dash), axis in product(dashes.items(), others):
            same = [p for p in own if p["budget"] == tag]
            places = [p["step"] if axis is others[0] else _asked(p) for p in same]
            drawn = [(x, p["success_rate"]) for x, p in zip(places, same, strict=True) if x]
            curve(
                axis,
                [x for x, _ in drawn],
                [y for _, y in drawn],
                {**line, "linestyle": dash},
            )
    [*against, *others][0].set(ylabel="success in %", ylim=(-2, 102))
    for axis in against:
        axis.set_xlabel("budget, last step")
        axis.set_xticks(range(len(budgets)), map(budget_name, budgets), rotation=30)
        if not any(tag.startswith("snr") for tag in budgets):
            levels = [loudness.get(tag) for tag in budgets]
            snr_axis(axis, range(len(budgets)), levels)
    for axis, label in zip(others, ("steps", "gradients and queries"), strict=False):
        # Lines of noise have no marker: their ends are no numbers of steps.
        marked = [li for li in axis.lines if li.get_marker() == "o"]
        places = sorted({round(x) for li in marked for x in li.get_xdata()})
        axis.set(xlabel=label, xscale="log")  # which has no 0
        axis.set_xticks(ticks := spread(places, 5), [f"{tick:g}" for tick in ticks])
        axis.set_xticks([], minor=True)
    if len(others) and len(dashes) > 1:
        styles = [f"{budget_name(t)} {d}" for t, d in zip(dashes, DASHES, strict=False)]
        others[0].set_title("\n".join(styles))


def _asked(point: AttackScores | CurvePoint) -> float:
    return point.get("gradients", 0.0) + point.get("queries", 0.0)


def success_picture(rows: Mapping[str, Sequence[AttackScores | CurvePoint]]) -> Picture:
    """`success_curves` as a part of a report."""
    return Picture(
        "success.png",
        partial(success_curves, rows),
        "Curves of success against budget, steps, gradients and queries",
        "Success of the attacker who has the model, with 95 % intervals, against the budget of the "
        "attack, its steps, and the gradients and queries of an utterance that it took. With steps "
        "on a cosine schedule, what is kept of fewer steps is no whole attack of so many.",
    )


def name_lines(figure: "Figure", axes: np.ndarray) -> None:
    """Names of lines: beside their ends, right of a panel where these part, or below the figure."""
    named: list[str] = []
    height = figure.get_size_inches()[1] / len(axes)
    # All rows have the same lines, so names beside one row are enough.
    for axis in axes[:, -1]:
        axis.get_xlim(), axis.get_ylim()  # they are found when asked for
        place = axis.transData + axis.transAxes.inverted()
        lines = [li for li in axis.lines if len(li.get_xdata()) and li.get_label()[0] != "_"]
        ends = sorted((place.transform(li.get_xydata()[-1])[1], n) for n, li in enumerate(lines))
        # Height of the tallest label, as a share of the height of a panel.
        room = (
            LINE_HEIGHT
            / height
            * max((li.get_label().count("\n") + 1.5 for li in lines), default=1)
        )
        own = {li.get_label() for li in axis.lines}
        # Labels that are not of lines are of lines with bars, whose ends this does not know.
        if not own.issuperset(axis.get_legend_handles_labels()[1]):
            continue
        if all(high[0] - low[0] > room for low, high in pairwise(ends)):
            for end, number in ends:
                named.append(lines[number].get_label())
                axis.annotate(
                    named[-1], (1.0, end), (4, 0), xycoords="axes fraction",
                    textcoords="offset points", color=lines[number].get_color(), va="center",
                    fontsize=8, annotation_clip=False,
                )  # fmt: skip
            break
    handles: dict[str, Artist] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    below = {label: handle for label, handle in handles.items() if label not in named}
    longest = max((len(row) for label in below for row in label.split("\n")), default=0)
    # About 16 letters fit in an inch, and the sample of a line takes the room of eight.
    columns = int(16 * figure.get_size_inches()[0]) // (longest + 8)
    if below:
        figure.legend(
            below.values(), below.keys(), loc="outside lower center", frameon=False,
            ncols=min(len(below), max(1, columns)),
        )  # fmt: skip
