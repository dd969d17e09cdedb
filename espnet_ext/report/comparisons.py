"""Paired comparisons of a report: their p-values, Holm's correction, and how attacks compare."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from espnet_ext.data.attack_log import NOISE, Setting
from espnet_ext.metrics.bootstrap import LEVEL, Interval, holm, interval, most_tests, p_value
from espnet_ext.report.findings import Finding
from espnet_ext.report.results import Strength, Tested

COMPARED = {
    "p": "two-sided p-value of a paired difference: twice the share of draws of the bootstrap on "
    "the rarer side of zero, the observed value counted with them",
    "holm": "the same after Holm's correction for all differences of that kind in the report; ‡ "
    "marks those at or below 0.05 in tables",
    "spent": "gradients and queries (passes forward alone) that an attack took of an utterance up "
    "to that number of steps, means; looks at whether it has succeeded are queries",
    "gains": "steps_gain, budget_gain, gradient_free_gain: how much more an attacker has of what "
    "he wants, in points, paired, than with at most half of the steps, with the next smaller "
    "budget, or with the strongest attack along gradients; below zero: less",
}
NOTE = "‡: remains after Holm's correction for the {count} comparisons of this kind ({left} do)."
GAINS = ("steps_gain", "budget_gain", "gradient_free_gain")
GRADIENT_FREE = ("square", "spsa")
WORST = "worst"
T = TypeVar("T")


def tested(record: Tested, name: str, draws: np.ndarray) -> Interval:
    """The interval of a difference, whose p-value is put into its record.

    Args:
        record: that has the difference.
        name: of the difference in it.
        draws: see `espnet_ext.metrics.bootstrap.interval`.
    """
    if (p := p_value(draws)) is not None:
        record.setdefault("p", {})[name] = p
    return interval(draws)


def correct(records: Iterable[Tested], name: str) -> None:
    """Put Holm's correction for all of some records into each that has a p-value."""
    family = [record for record in records if name in record.get("p", {})]
    for record, value in zip(family, holm([r["p"][name] for r in family]), strict=True):
        record.setdefault("holm", {})[name] = value


def remains(record: Tested, name: str) -> bool:
    """Whether a difference is one after Holm's correction."""
    return record.get("holm", {}).get(name, 1.0) <= LEVEL


def note(records: Iterable[Tested], name: str) -> list[str]:
    """What stands under a table whose differences are marked; nothing where none was tested."""
    family = [record for record in records if name in record.get("holm", {})]
    left = sum(remains(record, name) for record in family)
    return [NOTE.format(count=len(family), left=left)] if family else []


def family(what: str, records: Sequence[Tested], name: str, resamples: int) -> Iterator[Finding]:
    """How many comparisons of one kind a report has, by chance and after Holm's correction.

    Args:
        what: is compared, in words.
        records: that have the difference.
        name: of the difference in them.
        resamples: draws of the bootstrap.
    """
    values = [record["p"][name] for record in records if name in record.get("p", {})]
    if values:
        yield Finding(
            "family",
            {
                "what": what,
                "of": len(values),
                "differ": sum(value <= LEVEL for value in values),
                "remain": sum(remains(record, name) for record in records),
                "most": most_tests(resamples),
                "resamples": resamples,
            },
        )


def size_of(budget: str) -> float:
    """What budgets are sorted by, from their tags, the smallest first.

    Example:
        >>> sorted(["snr30", "snr40"], key=size_of), sorted(["eps2", "eps10"], key=size_of)
        (['snr40', 'snr30'], ['eps2', 'eps10'])
    """
    # A higher SNR is a smaller perturbation.
    size = float(budget[3:])
    return -size if budget.startswith("snr") else size


def strengths(
    rows: Mapping[Setting, T], gain: Callable[[T, T], np.ndarray]
) -> dict[Setting, Strength]:
    """How strong each attack is beside those with fewer steps, a smaller budget, or gradients.

    Args:
        rows: of each setting, the same utterances in the same order.
        gain: draws of how much stronger the attack of the first rows is than that of the second.
    """
    attacks = [s for s in rows if s.step > 0 and s.method != NOISE]
    budgets = sorted({s.budget for s in attacks}, key=size_of)
    found: dict[Setting, Strength] = {setting: {} for setting in attacks}
    for setting, strength in found.items():
        method, budget, step = setting
        # At most half of the steps, because `LIMITS.PLATEAU` speaks of a doubling.
        fewer = [s for s in attacks if s[:2] == (method, budget) and 2 * s.step <= step]
        smaller = [
            s for b in budgets[: budgets.index(budget)] if (s := Setting(method, b, step)) in found
        ]
        if fewer:
            draws = gain(rows[setting], rows[max(fewer, key=lambda s: s.step)])
            strength["steps_gain"] = tested(strength, "steps_gain", draws)
        if smaller:
            draws = gain(rows[setting], rows[smaller[-1]])
            strength["budget_gain"] = tested(strength, "budget_gain", draws)
        # A worst case is made of all attacks, so it cannot be compared with one of them.
        along = [
            s for s in attacks if s.budget == budget and s.method not in (*GRADIENT_FREE, WORST)
        ]
        if method in GRADIENT_FREE and along:
            # Of several attacks along gradients the one that it beats by the least.
            draws = min((gain(rows[setting], rows[s]) for s in along), key=lambda drawn: drawn[0])
            strength["gradient_free_gain"] = tested(strength, "gradient_free_gain", draws)
    return found
