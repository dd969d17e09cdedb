"""Figures of both halves: a grid of axes that is written to a file, and one curve."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record, write_figure
from espnet_ext.errors import InputError
from espnet_ext.report.comparisons import size_of
from espnet_ext.report.results import AttackScores, CurvePoint, Numbers
from espnet_ext.report.wording import budget_name, method_name

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


@contextmanager
def drawing(
    path: str | Path,
    rows: int,
    columns: int,
    size: tuple[float, float],
    share: str = "",
    layout: str | None = None,
) -> Iterator[tuple["Figure", np.ndarray]]:
    """A figure and its grid of axes (rows, columns), written to `path` at the end.

    Args:
        path: the picture, .png or .pdf.
        rows: of the grid.
        columns: likewise.
        size: width and height in inches.
        share: "x" or "y" for axes that have the same scale.
        layout: of matplotlib.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("figures need matplotlib: pip install 'espnet_ext[report]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"font.size": 10, "axes.titlesize": 11}):
        figure, axes = pyplot.subplots(
            rows, columns, squeeze=False, figsize=size, layout=layout,
            sharex=share == "x", sharey=share == "y",
        )  # fmt: skip
        try:
            yield figure, axes
            write_figure(figure, path, dpi=150, bbox_inches="tight")
        finally:
            pyplot.close(figure)


def curve(
    axis: "Axes",
    x: Sequence[float | None] | range,
    values: Sequence[Numbers],
    style: Record,
    bars: bool = False,
) -> None:
    """A measure against something, with its interval where there is one; nothing of no values.

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
        lengths = np.nan_to_num(np.stack([point - low, high - point])).clip(min=0.0)
        axis.errorbar(places, point, yerr=lengths, markersize=5, elinewidth=0.8, **style)
        return
    (line,) = axis.plot(places, point, markersize=4, **style)
    if not np.isnan(low).any():
        axis.fill_between(places, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axis.grid(alpha=0.25)


def success_curves(rows: Mapping[str, Sequence[AttackScores | CurvePoint]], path: Path) -> None:
    """Success against steps, budget, and what was asked of the model; of any kind of model.

    Against steps and what was asked, of at most `SHOWN_BUDGETS` budgets; against the budget after
    the last step of each attack, where noise of the same size is dotted.

    Args:
        rows: scores of attacks by what was attacked, a row of panels each.
        path: the picture.
    """
    with drawing(path, len(rows), 3, (12.5, 3.6 * len(rows)), share="y") as (figure, axes):
        for (name, points), (steps, budget, asked) in zip(rows.items(), axes, strict=True):
            budgets = sorted({p["budget"] for p in points if p["step"]}, key=size_of)
            places = np.linspace(0, len(budgets) - 1, min(SHOWN_BUDGETS, len(budgets)))
            shown = [budgets[int(place)] for place in places.round()]
            methods = dict.fromkeys(p["method"] for p in points if p["step"])
            for number, method in enumerate(methods):
                own = [p for p in points if p["method"] == method and p["step"]]
                line: Record = {"color": f"C{number}", "label": method_name(method)}
                last = {p["budget"]: p for p in own}  # steps ascend
                at = [budgets.index(tag) for tag in last]
                values = [p["success_rate"] for p in last.values()]
                noise = method == NOISE
                line |= {"marker": "o", "linestyle": ":" if noise else "-"}
                curve(budget, at, values, line)
                for dashes, tag in zip(LINES, shown, strict=False):
                    same = [p for p in own if p["budget"] == tag and not noise]
                    dashed = {**line, "linestyle": dashes}
                    rates = [p["success_rate"] for p in same]
                    curve(steps, [p["step"] for p in same], rates, dashed)
                    total = [p.get("gradients", 0.0) + p.get("queries", 0.0) for p in same]
                    known = [place for place in range(len(same)) if total[place]]
                    curve(asked, [total[k] for k in known], [rates[k] for k in known], dashed)
            dashed_as = zip(map(budget_name, shown), DASHES, strict=False)
            styles = ", ".join(f"{tag} {how}" for tag, how in dashed_as)
            title = styles if len(shown) > 1 else budget_name(shown[0]) if shown else ""
            steps.set(xlabel="steps", ylabel="success in %", title=title)
            budget.set(xlabel="budget, last step", title=name)
            budget.set_xticks(range(len(budgets)), map(budget_name, budgets), rotation=30)
            asked.set(xlabel="gradients and queries of an utterance")
            for axis in (steps, asked):
                axis.set_xscale("log")
                axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.xaxis.set_minor_formatter(lambda value, _: "")
            budget.set_ylim(-2, 102)
        legend_below(figure, axes, 5)


def success_picture(rows: Mapping[str, Sequence[AttackScores | CurvePoint]]) -> Picture:
    """`success_curves` as a part of a report."""
    return Picture(
        "success.png",
        partial(success_curves, rows),
        "Curves of success against steps, budget, gradients and queries",
        "Success of the attacker who has the model, with 95 % intervals, against the steps of the "
        "attack, its budget, and the gradients and queries it took. With steps on a cosine "
        "schedule, what is kept of fewer steps is no whole attack of so many.",
    )


def legend_below(figure: "Figure", axes: np.ndarray, columns: int) -> None:
    """Every label of the axes once, below them."""
    handles: dict[str, Artist] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.tight_layout()
    figure.legend(
        handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
        ncol=columns, frameon=False,
    )  # fmt: skip
