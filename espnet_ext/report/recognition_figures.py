"""Figures of attacks on recognisers and of sweeps of these.

Noise of the same size is dotted wherever it was tried.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record
from espnet_ext.report.figures import LINES, curve, drawing, legend_below
from espnet_ext.report.results import AttackScores, ConditionResult, SweepResults
from espnet_ext.report.wording import budget_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which people with any colour vision tell apart.
MEASURES: dict[Literal["adv_twer", "wer", "success_rate"], tuple[str, str, str]] = {
    "adv_twer": ("AdvTWER", "#d55e00", "o"),
    "wer": ("WER", "#0072b2", "s"),
    "success_rate": ("success", "#009e73", "^"),
}
DOTTED = (0, (1, 2))
NOISE_LABEL = "noise of the same size"
LOUDNESS = "median SNR in dB, louder to the right"


def figure_1(results: SweepResults, path: str | Path) -> None:
    """AdvTWER against the number of steps, as Figure 1 of Das and Chau (2022), with intervals.

    One panel a budget; with several budgets one more, against the budget at the last step.

    Args:
        results: of `results.json`.
        path: the picture, .png or .pdf.
    """
    conditions = curves_of(results)
    first, _ = without_noise(conditions[0]["attack"])
    budgets = list(dict.fromkeys(entry["budget"] for entry in first))
    panels, last = len(budgets) + (len(budgets) > 1), max(entry["step"] for entry in first)
    with drawing(path, 1, panels, (4.2 * panels + 1.5, 4.0), share="y") as (figure, axes):
        for number, condition in enumerate(conditions):
            style = _style(number, condition, results)
            attack, noise = without_noise(condition["attack"])
            for axis, budget in zip(axes[0], budgets, strict=False):
                own = [e for e in attack if e["budget"] == budget]
                curve(axis, [e["step"] for e in own], [e["adv_twer"] for e in own], style)
                for entry in (e for e in noise if e["budget"] == budget):
                    axis.axhline(entry["adv_twer"][0], color=style["color"], linestyle=DOTTED)
                axis.set(xlabel="attack steps", title=budget_name(budget))
            if len(budgets) > 1:
                own = [e for e in attack if e["step"] == last]
                curve(axes[0][-1], range(len(own)), [e["adv_twer"] for e in own], style)
                places = [budgets.index(e["budget"]) for e in noise]
                dotted = {**style, "linestyle": DOTTED, "label": ""}
                curve(axes[0][-1], places, [e["adv_twer"] for e in noise], dotted)
        if len(budgets) > 1:
            axes[0][-1].set_xticks(range(len(budgets)), map(budget_name, budgets))
            axes[0][-1].set(xlabel="budget", title=f"after {last} steps")
        _finish(figure, axes, conditions)


def figure_snr(results: SweepResults, path: str | Path) -> None:
    """AdvTWER against the measured signal-to-noise ratio, of the conditions of `figure_1`.

    The points are those of `along_loudness`: attacks differ in how loud they become.

    Args:
        results: of `results.json`.
        path: the picture, .png or .pdf.
    """
    conditions = curves_of(results)
    with drawing(path, 1, 1, (8.4, 4.0)) as (figure, axes):
        for number, condition in enumerate(conditions):
            style = _style(number, condition, results)
            attack, noise = without_noise(condition["attack"])
            shown, title = along_loudness(attack)
            dotted = {**style, "linestyle": DOTTED, "label": ""}
            for entries, line in ((shown, style), (along_loudness(noise)[0], dotted)):
                loudness = [entry["snr_median"] for entry in entries]
                curve(axes[0, 0], loudness, [entry["adv_twer"] for entry in entries], line)
            axes[0, 0].set(xlabel=LOUDNESS, title=title)
        axes[0, 0].invert_xaxis()
        _finish(figure, axes, conditions)


def attack_curves(scores: Sequence[AttackScores], path: str | Path) -> None:
    """AdvTWER, WER and success against the steps and against the measured SNR.

    Args:
        scores: of `results.json` of an attack, an entry a setting.
        path: the picture, .png or .pdf.
    """
    attack, noise = without_noise(scores)
    measured, title = along_loudness(attack)
    with drawing(path, 1, 2, (9.0, 3.8), share="y") as (figure, axes):
        steps, loudness = axes[0]
        for key, (name, colour, marker) in MEASURES.items():
            for number, budget in enumerate(dict.fromkeys(entry["budget"] for entry in attack)):
                own = [e for e in attack if e["budget"] == budget and key in e]
                line: Record = {"color": colour, "marker": marker, "linestyle": LINES[number % 3]}
                line["label"] = f"{name}, {budget_name(budget)}"
                curve(steps, [e["step"] for e in own], [e[key] for e in own], line)
            for entry in (e for e in noise if key in e):
                label = f"{name}, {budget_name(entry['budget'])}, {NOISE_LABEL}"
                steps.axhline(entry[key][0], color=colour, linestyle=DOTTED, label=label)
            for entries, dashes in ((measured, "-"), (along_loudness(noise)[0], DOTTED)):
                own = [e for e in entries if key in e]
                line = {"color": colour, "marker": marker, "linestyle": dashes}
                curve(loudness, [e["snr_median"] for e in own], [e[key] for e in own], line)
        steps.set(xlabel="attack steps", ylabel="%")
        steps.set_ylim(bottom=0)
        loudness.set(xlabel=LOUDNESS, title=title)
        loudness.invert_xaxis()
        legend_below(figure, axes[:, :1], 3)


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
    chosen = [
        c
        for c in results["conditions"]
        if [c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]] in wanted
    ]
    return chosen or results["conditions"]


def _finish(figure: "Figure", axes: np.ndarray, conditions: Sequence[ConditionResult]) -> None:
    axes[0, 0].set_ylabel("AdvTWER in %, higher is harder to attack")
    # Intervals of a failed decoding can be wider than the picture; the curves must fit.
    highest = max(e["adv_twer"][0] or 0.0 for c in conditions for e in c["attack"])
    axes[0, 0].set_ylim(0, 1.15 * highest)
    if any(without_noise(c["attack"])[1] for c in conditions):
        axes[0, 0].plot([], [], color="0.2", linestyle=DOTTED, label=NOISE_LABEL)
    legend_below(figure, axes[:, :1], 3)


def _style(number: int, condition: ConditionResult, results: SweepResults) -> Record:
    dashed = condition["heads"] in results["layout"].get("dashed", [])
    return {
        "marker": "osD^vP"[number % 6],
        "linestyle": "--" if dashed else "-",
        "color": "0.5" if dashed else f"C{number}",
        "label": f"{condition['heads']}\n"
        rf"  $\lambda_A={condition['asr_weight']:g}$, $\lambda_C={condition['ctc_weight']:g}$, "
        rf"inference $\lambda_C={condition['inference_ctc_weight']:g}$",
    }
