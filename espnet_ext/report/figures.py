"""Figures of both halves: a grid of axes that is written to a file, and one curve."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espnet_ext.data.files import Record, write_figure
from espnet_ext.errors import InputError
from espnet_ext.report.results import Numbers

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
