"""Figures of a sweep, and the one curve with its interval of all figures of recognisers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import write_figure
from espnet_ext.errors import InputError
from espnet_ext.report.results import AttackScores, ConditionResult, SweepResults
from espnet_ext.report.tables import attack_entry, budget_name

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


def curve(
    axis: "Axes",
    x: Sequence[float | None] | range,
    entries: Sequence[AttackScores],
    measure: Literal["adv_twer", "wer", "success_rate"],
    **style: Any,
) -> None:
    """A measure against something, with its interval shaded where there is one.

    Args:
        axis: to draw on.
        x: where each entry stands.
        entries: scores.
        measure: that all entries have.
        **style: of the line, as matplotlib takes it.
    """
    places = np.array(x, dtype=np.float64)
    values, low, high = np.array([e[measure] for e in entries], dtype=np.float64).reshape(-1, 3).T
    (line,) = axis.plot(places, values, markersize=4, **style)
    if not np.isnan(low).any():
        axis.fill_between(places, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axis.grid(alpha=0.3)


def without_noise(entries: Sequence[AttackScores]) -> list[AttackScores]:
    """Entries of attacks and of no attack."""
    return [entry for entry in entries if entry.get("method") != NOISE]


def figure_1(results: SweepResults, path: str | Path) -> None:
    """AdvTWER against the number of steps, as Figure 1 of Das and Chau (2022), with intervals.

    One panel a budget; with several budgets one more, against the budget at the last step.

    Args:
        results: of `results.json`.
        path: the picture, .png or .pdf.
    """
    pyplot = load_pyplot()
    conditions = _drawn(results)
    first = without_noise(conditions[0]["attack"])
    budgets = list(dict.fromkeys(entry["budget"] for entry in first))
    panels = len(budgets) + (len(budgets) > 1)
    figure, axes = pyplot.subplots(
        1, panels, figsize=(4.2 * panels + 4.2, 4.0), sharey=True, squeeze=False
    )
    for axis, budget in zip(axes[0], budgets, strict=False):
        for number, condition in enumerate(conditions):
            attack = without_noise(condition["attack"])
            entries = [entry for entry in attack if entry["budget"] == budget]
            steps = [entry["step"] for entry in entries]
            curve(axis, steps, entries, "adv_twer", **_style(number, condition))
        axis.set_xlabel("attack steps")
        axis.set_title(budget_name(budget), fontsize=10)
    if len(budgets) > 1:
        axis, last = axes[0][-1], max(entry["step"] for entry in first)
        settings = [entry for entry in first if entry["step"] == last]
        for number, condition in enumerate(conditions):
            entries = [attack_entry(condition, setting) for setting in settings]
            curve(axis, range(len(entries)), entries, "adv_twer", **_style(number, condition))
        axis.set_xticks(range(len(settings)), [budget_name(e["budget"]) for e in settings])
        axis.set_xlabel("budget")
        axis.set_title(f"after {last} steps", fontsize=10)
    _finish(figure, axes[0], conditions, path)
    pyplot.close(figure)


def figure_snr(results: SweepResults, path: str | Path) -> None:
    """AdvTWER against the measured signal-to-noise ratio, of the conditions of `figure_1`.

    The points are those of `along_loudness`: attacks differ in how loud they become.

    Args:
        results: of `results.json`.
        path: the picture, .png or .pdf.
    """
    pyplot = load_pyplot()
    conditions = _drawn(results)
    figure, axis = pyplot.subplots(figsize=(8.4, 4.0))
    for number, condition in enumerate(conditions):
        entries, title = along_loudness(condition["attack"])
        loudness = [entry["snr_median"] for entry in entries]
        curve(axis, loudness, entries, "adv_twer", **_style(number, condition))
        axis.set_title(title, fontsize=10)
    axis.set_xlabel("median SNR in dB, louder to the right")
    axis.invert_xaxis()
    _finish(figure, [axis], conditions, path)
    pyplot.close(figure)


def along_loudness(entries: Sequence[AttackScores]) -> tuple[list[AttackScores], str]:
    """Entries to be drawn against the SNR, quiet ones first, and what they have in common.

    All steps of an attack of one budget; the last step of each where there are several, for
    within a budget that binds the SNR is the same at all steps.
    """
    measured = [e for e in without_noise(entries) if e["snr_median"] is not None]
    budgets = {entry["budget"] for entry in measured}
    title = budget_name(*budgets) if len(budgets) == 1 else ""
    if len(budgets) > 1:
        last = max(entry["step"] for entry in measured)
        measured = [entry for entry in measured if entry["step"] == last]
        title = f"each budget after {last} steps"
    return sorted(measured, key=lambda entry: -(entry["snr_median"] or 0.0)), title


def _drawn(results: SweepResults) -> list[ConditionResult]:
    """The conditions that are drawn."""
    keys = ("asr_weight", "ctc_weight", "inference_ctc_weight")
    chosen = [c for c in results["conditions"] if tuple(map(dict(c).get, keys)) in FIGURE_1]
    return chosen or results["conditions"]


def _finish(
    figure: Any, axes: Sequence["Axes"], conditions: Sequence[ConditionResult], path: str | Path
) -> None:
    axes[0].set_ylabel("AdvTWER in %, higher is harder to attack")
    # Intervals of a failed decoding can be wider than the picture; the curves must fit.
    highest = max(e["adv_twer"][0] or 0.0 for c in conditions for e in c["attack"])
    axes[0].set_ylim(0, 1.15 * highest)
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8)
    figure.tight_layout()
    write_figure(figure, path, dpi=150)


def _style(number: int, condition: ConditionResult) -> dict[str, Any]:
    single = condition["heads"] in ("STL decoder", "STL CTC")
    return {
        "marker": "osD^vP"[number % 6],
        "linestyle": "--" if single else "-",
        "color": "0.5" if single else f"C{number}",
        "label": f"{condition['heads']}\n"
        rf"  $\lambda_A={condition['asr_weight']:g}$, $\lambda_C={condition['ctc_weight']:g}$, "
        rf"inference $\lambda_C={condition['inference_ctc_weight']:g}$",
    }
