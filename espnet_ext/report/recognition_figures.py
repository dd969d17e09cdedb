"""Figures of attacks on recognisers and of sweeps of these.

Noise of the same size is dotted wherever it was tried.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record
from espnet_ext.report.figures import (
    COLOURS,
    LINES,
    MARKERS,
    SHOWN_BUDGETS,
    curve,
    drawing,
    name_lines,
    snr_axis,
    spread,
)
from espnet_ext.report.recognition_findings import baseline
from espnet_ext.report.results import AttackScores, ConditionResult, SweepResults
from espnet_ext.report.wording import budget_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that no attack has in `success_curves`.
MEASURES: dict[Literal["adv_twer", "wer", "success_rate"], tuple[str, str, str]] = {
    "adv_twer": ("AdvTWER", COLOURS[-3], "o"),
    "wer": ("WER", COLOURS[-2], "s"),
    "success_rate": ("success", COLOURS[-1], "^"),
}
DOTTED = (0, (1, 2))
NOISE_LABEL = "noise of the same size"
LOUDNESS = "median SNR in dB, louder to the right"
# SNRs that differ by less belong to one budget, which every attack uses up.
LEAST_DB = 0.5


def figure_1(results: SweepResults, path: str | Path) -> None:
    """AdvTWER against the number of steps, as Figure 1 of Das and Chau (2022), with intervals.

    One column per budget, at most `SHOWN_BUDGETS`; below each the paired difference to the
    baseline.

    Args:
        results: of `results.json`.
        path: the picture, .png, .svg or .pdf.
    """
    conditions = curves_of(results)
    entries = [entry for c in conditions for entry in without_noise(c["attack"])[0]]
    budgets = spread([*dict.fromkeys(entry["budget"] for entry in entries)], SHOWN_BUDGETS)
    steps = sorted({entry["step"] for entry in entries})
    with drawing(path, 2, len(budgets), 5.6, "row") as (figure, axes):
        for (top, below), budget in zip(axes.T, budgets, strict=True):
            for condition in conditions:
                style = style_of(condition, results)
                attack, noise = without_noise(condition["attack"])
                own = [e for e in attack if e["budget"] == budget]
                # Evenly spaced: most steps are among the first.
                at = [steps.index(e["step"]) for e in own]
                curve(top, at, [e["adv_twer"] for e in own], style)
                # Noise needs no steps, so it is a horizontal line.
                for entry in (e for e in noise if e["budget"] == budget):
                    top.axhline(entry["adv_twer"][0], color=style["color"], linestyle=DOTTED)
                _difference(below, condition, at, own, results)
            for axis in (top, below):
                axis.set_xticks(range(len(steps)), map(str, steps))
            below.set_xlabel("attack steps")
            top.set_title(budget_name(budget))
            if not budget.startswith("snr"):
                same = [e for e in entries if e["budget"] == budget and e["snr_median"] is not None]
                levels = [[e["snr_median"] or 0.0 for e in same if e["step"] == n] for n in steps]
                middle = [float(np.median(found)) if found else None for found in levels]
                snr_axis(top, range(len(steps)), middle)
        _finish(figure, axes, conditions, results)


def figure_snr(results: SweepResults, path: str | Path) -> None:
    """AdvTWER against the measured signal-to-noise ratio, of the conditions of `figure_1`.

    The points are those of `along_loudness`: attacks differ in how loud they become. Below them
    the paired difference to the baseline.

    Args:
        results: of `results.json`.
        path: the picture, .png, .svg or .pdf.
    """
    conditions = curves_of(results)
    with drawing(path, 2, 1, 5.6) as (figure, axes):
        top, below = axes[:, 0]
        for condition in conditions:
            style = style_of(condition, results)
            attack, noise = without_noise(condition["attack"])
            shown, title = along_loudness(attack)
            # matplotlib leaves lines without a label out of legends.
            dotted = {**style, "linestyle": DOTTED, "label": ""}
            for entries, line in ((shown, style), (along_loudness(noise)[0], dotted)):
                loudness = [entry["snr_median"] for entry in entries]
                curve(top, loudness, [entry["adv_twer"] for entry in entries], line)
            _difference(below, condition, [e["snr_median"] for e in shown], shown, results)
            top.set_title(title)
        below.set_xlabel(LOUDNESS)
        below.sharex(top)
        low, high = top.get_xlim()
        middle, half = (low + high) / 2, max(high - low, 2 * LEAST_DB) / 2
        # From high to low SNR: louder is to the right.
        top.set_xlim(middle + half, middle - half)
        _finish(figure, axes, conditions, results)


def _difference(
    axis: "Axes",
    condition: ConditionResult,
    at: Sequence[float | None],
    entries: Sequence[AttackScores],
    results: SweepResults,
) -> None:
    """The paired difference of a condition to the baseline; of the baseline the line of zero."""
    style = style_of(condition, results)
    if condition is baseline(results):
        axis.axhline(0.0, color=style["color"], linestyle=style["linestyle"], label=style["label"])
        return
    found = [(x, e["difference"]) for x, e in zip(at, entries, strict=True) if "difference" in e]
    curve(axis, [x for x, _ in found], [value for _, value in found], style)


def attack_curves(scores: Sequence[AttackScores], path: str | Path) -> None:
    """AdvTWER, WER and success against the steps and against the measured SNR.

    Args:
        scores: of `results.json` of an attack, an entry a setting.
        path: the picture, .png or .pdf.
    """
    attack, noise = without_noise(scores)
    measured, title = along_loudness(attack)
    # Where the budget is an SNR that binds, there is nothing to see against it.
    levels = [entry["snr_median"] or 0.0 for entry in measured]
    apart = bool(levels) and max(levels) - min(levels) > LEAST_DB
    with drawing(path, 1, 1 + apart, 3.6, "y") as (figure, axes):
        steps, loudness = axes[0, 0], axes[0, -1]
        for key, (name, colour, marker) in MEASURES.items():
            for number, budget in enumerate(dict.fromkeys(entry["budget"] for entry in attack)):
                own = [e for e in attack if e["budget"] == budget and key in e]
                line: Record = {"color": colour, "marker": marker, "linestyle": LINES[number % 3]}
                line["label"] = f"{name}, {budget_name(budget)}"
                curve(steps, [e["step"] for e in own], [e[key] for e in own], line)
            for entry in (e for e in noise if key in e):
                label = f"{name}, {budget_name(entry['budget'])}, {NOISE_LABEL}"
                steps.axhline(entry[key][0], color=colour, linestyle=DOTTED, label=label)
            both = ((measured, "-"), (along_loudness(noise)[0], DOTTED))
            for entries, dashes in both if apart else ():
                own = [e for e in entries if key in e]
                line = {"color": colour, "marker": marker, "linestyle": dashes}
                curve(loudness, [e["snr_median"] for e in own], [e[key] for e in own], line)
        steps.set(xlabel="attack steps", ylabel="%")
        steps.set_ylim(bottom=0)
        if apart:
            loudness.set(xlabel=LOUDNESS, title=title)
            loudness.invert_xaxis()
        name_lines(figure, axes)


def without_noise(
    entries: Sequence[AttackScores],
) -> tuple[list[AttackScores], list[AttackScores]]:
    """Entries of attacks and of no attack, and those of noise of the same size."""
    noise = [entry for entry in entries if entry["method"] == NOISE]
    return [entry for entry in entries if entry["method"] != NOISE], noise


def along_loudness(entries: Sequence[AttackScores]) -> tuple[list[AttackScores], str]:
    """Entries to be drawn against the SNR, quiet ones first, and what they have in common.

    All steps of an attack of one budget; the last step of each where there are several, for
    within a budget that binds the SNR is the same at all steps.
    """
    measured = [e for e in entries if e["snr_median"] is not None]
    budgets = {entry["budget"] for entry in measured}
    title = budget_name(*budgets) if len(budgets) == 1 else ""
    if len(budgets) > 1:
        last = max(entry["step"] for entry in measured)
        measured = [entry for entry in measured if entry["step"] == last]
        title = f"each budget after {last} steps"
    return sorted(measured, key=lambda entry: -(entry["snr_median"] or 0.0)), title


def curves_of(results: SweepResults) -> list[ConditionResult]:
    """The conditions that the layout wants drawn; all if the sweep has none of them."""
    wanted = results["layout"].get("curves", [])
    chosen = [c for c in results["conditions"] if _key(c)[0] in wanted]
    return chosen or results["conditions"]


def _finish(
    figure: "Figure",
    axes: np.ndarray,
    conditions: Sequence[ConditionResult],
    results: SweepResults,
) -> None:
    top, below = axes[:, 0]
    top.set_ylabel("AdvTWER in %,\nhigher is harder to attack")
    below.set_ylabel(f"difference to {baseline(results)['heads']}\nin points, paired")
    # Intervals of a failed decoding can be wider than the picture; the curves must fit.
    highest = max(e["adv_twer"][0] or 0.0 for c in conditions for e in c["attack"])
    top.set_ylim(0, 1.15 * highest)
    for axis in axes[1]:
        axis.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    if any(without_noise(c["attack"])[1] for c in conditions):
        top.plot([], [], color="0.2", linestyle=DOTTED, label=NOISE_LABEL)
    name_lines(figure, axes)


def style_of(condition: ConditionResult, results: SweepResults) -> Record:
    """How a condition is drawn: one colour in every figure of all results of a recipe.

    The recipe's order of curves gives the colours; variants and others get those that are left.
    """
    wanted = [(key, "") for key in results["layout"].get("curves", [])]
    shown = [_key(c) for c in curves_of(results)]
    free = [n for n in range(len(COLOURS)) if n >= len(wanted) or wanted[n] not in shown]
    others = [key for key in shown if key not in wanted]
    key = _key(condition)
    # Where there are more conditions than colours, some share one.
    number = wanted.index(key) if key in wanted else free[others.index(key) % len(free)]
    return {
        "marker": MARKERS[number],
        "linestyle": "--" if condition["heads"] in results["layout"].get("dashed", []) else "-",
        "color": COLOURS[number],
        "label": f"{condition['heads']}\nλ_A {condition['asr_weight']:g}, "
        f"λ_C {condition['ctc_weight']:g}, inference λ_C {condition['inference_ctc_weight']:g}",
    }


def _key(condition: ConditionResult) -> tuple[list[float], str]:
    weights = [condition["asr_weight"], condition["ctc_weight"]]
    return [*weights, condition["inference_ctc_weight"]], condition["variant"]
