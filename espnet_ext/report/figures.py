"""Figures of a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_ext.data.files import write_figure
from espnet_ext.errors import InputError
from espnet_ext.report.tables import Entry, attack_entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Figure 1 of the paper shows these; a sweep that has fewer shows what it has.
FIGURE_1 = [
    (1.0, 0.0, 0.0),
    (1.0, 1.0, 1.0),
    (1.0, 0.5, 0.5),
    (1.0, 0.5, 0.0),
    (0.7, 0.0, 0.0),
    (0.7, 0.5, 0.0),
]


def load_pyplot() -> Any:
    """Pyplot that draws into files.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("figures need matplotlib: pip install 'espnet_ext[report]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def figure_1(results: Entry, path: str | Path) -> None:
    """AdvTWER against the number of steps, as Figure 1 of Das and Chau (2022), with intervals.

    One panel a budget; with several budgets one more, against the budget at the last step.

    Args:
        results: of `results.json`.
        path: the picture, .png or .pdf.
    """
    pyplot = load_pyplot()
    conditions, budgets = _drawn(results)
    panels = len(budgets) + (len(budgets) > 1)
    figure, axes = pyplot.subplots(
        1, panels, figsize=(4.2 * panels + 4.2, 4.0), sharey=True, squeeze=False
    )
    for axis, budget in zip(axes[0], budgets, strict=False):
        _against_steps(axis, conditions, budget)
    if len(budgets) > 1:
        _against_budget(axes[0][-1], conditions, budgets)
    _finish(figure, axes[0], conditions, path)
    pyplot.close(figure)


def figure_snr(results: Entry, path: str | Path) -> None:
    """AdvTWER against the measured signal-to-noise ratio, of the conditions of `figure_1`.

    The points are those of `along_loudness`: attacks differ in how loud they become.

    Args:
        results: of `results.json`.
        path: the picture, .png or .pdf.
    """
    pyplot = load_pyplot()
    conditions, _ = _drawn(results)
    figure, axis = pyplot.subplots(figsize=(8.4, 4.0))
    for number, condition in enumerate(conditions):
        entries, title = along_loudness(condition["attack"])
        _curve(axis, number, condition, [e["snr_median"] for e in entries], entries)
        axis.set_title(title, fontsize=10)
    axis.set_xlabel("median SNR in dB, louder to the right")
    axis.invert_xaxis()
    _finish(figure, [axis], conditions, path)
    pyplot.close(figure)


def along_loudness(entries: Sequence[Entry]) -> tuple[list[Entry], str]:
    """Entries to be drawn against the SNR, quiet ones first, and what they have in common.

    All steps of an attack of one budget; the last step of each where there are several, for
    within a budget that binds the SNR is the same at all steps.
    """
    measured = [entry for entry in entries if entry["snr_median"] is not None]
    budgets = {entry["budget"] for entry in measured}
    title = budget_name(*budgets) if len(budgets) == 1 else ""
    if len(budgets) > 1:
        last = max(entry["step"] for entry in measured)
        measured = [entry for entry in measured if entry["step"] == last]
        title = f"each budget after {last} steps"
    return sorted(measured, key=lambda entry: -entry["snr_median"]), title


def _drawn(results: Entry) -> tuple[list[Entry], list[str]]:
    """The conditions that are drawn, and the budgets."""
    conditions = [c for c in results["conditions"] if _weights(c) in FIGURE_1]
    conditions = conditions or results["conditions"]
    return conditions, list(dict.fromkeys(e["budget"] for e in conditions[0]["attack"]))


def _finish(figure: Any, axes: Any, conditions: Sequence[Entry], path: str | Path) -> None:
    axes[0].set_ylabel("AdvTWER in %, higher is harder to attack")
    # Intervals of a failed decoding can be wider than the picture; the curves must fit.
    highest = max(e["adv_twer"][0] for c in conditions for e in c["attack"])
    axes[0].set_ylim(0, 1.15 * highest)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8)
    figure.tight_layout()
    write_figure(figure, path, dpi=150)


def _weights(condition: Entry) -> tuple[float, float, float]:
    return (condition["asr_weight"], condition["ctc_weight"], condition["inference_ctc_weight"])


def _against_steps(axis: "Axes", conditions: Sequence[Entry], budget: str) -> None:
    for number, condition in enumerate(conditions):
        entries = [e for e in condition["attack"] if e["budget"] == budget]
        _curve(axis, number, condition, [e["step"] for e in entries], entries)
    axis.set_xlabel("attack steps")
    axis.set_title(budget_name(budget), fontsize=10)


def _against_budget(axis: "Axes", conditions: Sequence[Entry], budgets: Sequence[str]) -> None:
    last = max(e["step"] for e in conditions[0]["attack"])
    for number, condition in enumerate(conditions):
        entries = [attack_entry(condition, budget, last) for budget in budgets]
        _curve(axis, number, condition, range(len(budgets)), entries)
    axis.set_xticks(range(len(budgets)), [budget_name(b) for b in budgets])
    axis.set_xlabel("budget")
    axis.set_title(f"after {last} steps", fontsize=10)


def _curve(
    axis: "Axes",
    number: int,
    condition: Entry,
    x: Sequence[float] | range,
    entries: Sequence[Entry],
) -> None:
    values = [e["adv_twer"] for e in entries]
    single = condition["heads"] in ("STL decoder", "STL CTC")
    (line,) = axis.plot(
        x,
        [v[0] for v in values],
        marker="osD^vP"[number % 6],
        markersize=4,
        linestyle="--" if single else "-",
        color="0.5" if single else f"C{number}",
        label=_label(condition),
    )
    if all(v[1] is not None for v in values):
        low, high = [v[1] for v in values], [v[2] for v in values]
        axis.fill_between(x, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axis.grid(alpha=0.3)


def _label(condition: Entry) -> str:
    asr, ctc, inference = _weights(condition)
    return (
        f"{condition['heads']}\n"
        rf"  $\lambda_A={asr:g}$, $\lambda_C={ctc:g}$, inference $\lambda_C={inference:g}$"
    )


def budget_name(tag: str) -> str:
    """A budget's tag as people write it.

    Example:
        >>> budget_name("snr35")
        'SNR 35 dB'
    """
    return f"SNR {tag[3:]} dB" if tag.startswith("snr") else f"ε = {tag[3:]}"
