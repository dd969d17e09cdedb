"""Markdown tables, among them those of Das and Chau (2022), and what an attack is called."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from espnet_ext.data.attack_log import NOISE, PGD
from espnet_ext.report.results import (
    AttackScores,
    ConditionResult,
    Numbers,
    Settings,
    SweepResults,
)

ARROWS = {1: " ↑", -1: " ↓", 0: ""}  # by `excludes_zero`


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column to the left, the others to the right.

    Example:
        >>> print(markdown_table(["a", "b"], [["x", "1"]]))
        | a | b |
        |:--|--:|
        | x | 1 |
    """
    alignment = ":--|" + "--:|" * (len(header) - 1)
    lines = [f"| {' | '.join(header)} |", f"|{alignment}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def interval(value: Sequence[float | None] | None, digits: int = 1) -> str:
    """A value with its interval, e.g. "58.6 (53.1 to 64.0)"."""
    if value is None:
        return "-"
    point, low, high = value
    if low is None or high is None:
        return f"{point:.{digits}f}"
    return f"{point:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def by_chance(comparisons: int) -> str:
    """How many of some comparisons would differ if nothing did, in words.

    A 95 % interval lies on the wrong side of no difference in 5 of 100 cases, half of them above.

    Example:
        >>> by_chance(2)
        'about 0.1 would differ by chance, half of them in each direction'
    """
    expected = 0.05 * comparisons
    shown = f"{expected:.0f}" if expected >= 10 else f"{expected:.2g}"
    return f"about {shown} would differ by chance, half of them in each direction"


def excludes_zero(value: Sequence[float | None]) -> int:
    """1 or -1 where a difference's interval lies above or below zero, else 0."""
    _, low, high = value
    if low is None or high is None:
        return 0
    return (low > 0.0) - (high < 0.0)


def several_methods(entries: Sequence[AttackScores]) -> bool:
    """Whether there is another attack than PGD, or noise of the same size."""
    return any(entry.get("method", PGD) != PGD for entry in entries)


def budget_name(tag: str) -> str:
    """A budget's tag as people write it.

    Example:
        >>> budget_name("snr35")
        'SNR 35 dB'
    """
    return f"SNR {tag[3:]} dB" if tag.startswith("snr") else f"ε = {tag[3:]}"


def setting_name(entry: AttackScores) -> str:
    """A budget and number of steps in words; the method where it is not PGD.

    Example:
        >>> setting_name({"budget": "eps2", "step": 10})
        'ε = 2, 10 steps'
    """
    method, name = entry.get("method", PGD), budget_name(entry["budget"])
    if method == NOISE:
        return f"{name}, noise of the same size"
    steps = f"{name}, {entry['step']} steps"
    return steps if method == PGD else f"{steps} of {method.upper()}"


def adv_twer_table(
    conditions: Sequence[ConditionResult], column: Callable[[ConditionResult], str], budget: str
) -> str:
    """AdvTWER by number of steps, a column a condition.

    The highest value of a row is bold. An arrow says that the paired interval of the
    difference to the baseline excludes zero: up for harder to attack, down for easier.

    Args:
        conditions: of `results.json`.
        column: heading of a condition.
        budget: tag of the budget.
    """
    rows = []
    for setting in (e for e in conditions[0]["attack"] if e["budget"] == budget):
        method, step = setting.get("method", PGD), setting["step"]
        name = method if method == NOISE else f"{method.upper()}-{step}" if step else "no attack"
        entries = [attack_entry(condition, setting) for condition in conditions]
        best = max(entry["adv_twer"][0] or 0.0 for entry in entries)
        cells = []
        for entry in entries:
            text = interval(entry["adv_twer"])
            bold = entry["adv_twer"][0] == best and step
            cells.append((f"**{text}**" if bold else text) + arrow(entry["difference"]))
        rows.append([name, *cells])
    return markdown_table(["", *(column(condition) for condition in conditions)], rows)


def arrow(difference: Numbers | None) -> str:
    """The mark of a difference whose interval excludes zero; nothing where it does not."""
    return "" if difference is None else ARROWS[excludes_zero(difference)]


def attack_entry(condition: ConditionResult, setting: AttackScores) -> AttackScores:
    """Scores of a condition under the same attack as another entry."""
    same = ("method", "budget", "step")
    return next(e for e in condition["attack"] if all(e.get(k) == setting.get(k) for k in same))


def attacked_settings(results: SweepResults, noise: bool = False) -> list[AttackScores]:
    """Entries of the first condition, one for each attack; without those of no attack.

    Args:
        results: of a sweep.
        noise: with those of noise of the same size.
    """
    entries = results["conditions"][0]["attack"]
    return [e for e in entries if e["step"] > 0 and (noise or e.get("method") != NOISE)]


def baseline(results: SweepResults) -> ConditionResult:
    """The condition that the others are compared with."""
    return next(
        c
        for c in results["conditions"]
        if [c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]] == results["baseline"]
        and c.get("variant", "") == results.get("baseline_variant", "")
    )


def table_1(conditions: Sequence[ConditionResult]) -> list[ConditionResult]:
    """lambda_A = 1: first inference as in training, then with the decoder alone."""
    chosen = [c for c in conditions if c["asr_weight"] == 1.0]
    same = [c for c in chosen if c["inference_ctc_weight"] == c["ctc_weight"]]
    dropped = [c for c in chosen if c["inference_ctc_weight"] != c["ctc_weight"]]
    return sorted(same, key=lambda c: c["ctc_weight"]) + sorted(
        dropped, key=lambda c: c["ctc_weight"]
    )


def table_2(conditions: Sequence[ConditionResult]) -> list[ConditionResult]:
    """lambda_C = 0, by lambda_A."""
    chosen = [c for c in conditions if c["ctc_weight"] == 0.0]
    return sorted(chosen, key=lambda c: -c["asr_weight"])


def table_3(conditions: Sequence[ConditionResult]) -> list[ConditionResult]:
    """All heads, the decoder alone at inference: the lambda_A with most lambda_C, by lambda_C."""
    chosen = [c for c in conditions if c["asr_weight"] < 1.0 and c["inference_ctc_weight"] == 0.0]
    weights = [c["asr_weight"] for c in chosen]
    if not weights:
        return []
    common = max(weights, key=weights.count)
    return sorted((c for c in chosen if c["asr_weight"] == common), key=lambda c: c["ctc_weight"])


def weights(condition: ConditionResult) -> str:
    """The three lambdas and the variant of a condition, for headings."""
    variant = f", {condition['variant']}" if condition.get("variant") else ""
    return (
        f"λ_A {condition['asr_weight']:g}, λ_C {condition['ctc_weight']:g}, "
        f"inference {condition['inference_ctc_weight']:g}{variant}"
    )


def attack_name(settings: Settings) -> str:
    """The attack on a recognizer in words, e.g. "targeted L2 PGD".

    Args:
        settings: of attack.json; what is not in it is left out.
    """
    norm = {"inf": "L∞ ", "2": "L2 "}.get(str(settings.get("norm", "")).removesuffix(".0"), "")
    aim = "targeted" if settings.get("targeted", True) else "untargeted"
    return f"{'silencing' if settings.get('goal') == 'silence' else aim} {norm}PGD"


def attacker(made_on: Mapping[str, Any] | None) -> str:
    """Who attacks, in words.

    Args:
        made_on: of a transfer, the model that the audio was made on; None for the same model.

    Example:
        >>> attacker({"model": {"config": {"path": "exp/ctc/config.yaml"}}, "ctc_weight": 1.0})
        'with audio that was made on ctc (weight of CTC 1)'
    """
    if not made_on:
        return "by an attacker who has the model"
    name = PurePath(made_on["model"]["config"]["path"]).parent.name
    return f"with audio that was made on {name} (weight of CTC {made_on['ctc_weight']:g})"
