"""What the numbers of a result say: cautions if there are any, then three sentences."""

from collections.abc import Iterable, Sequence

from espnet_ext.report.cautions import attack_cautions, sweep_cautions
from espnet_ext.report.experiments import Entry
from espnet_ext.report.figures import budget_name
from espnet_ext.report.markdown import attacked_settings, baseline
from espnet_ext.report.tables import (
    attack_entry,
    attack_name,
    by_chance,
    excludes_zero,
    interval,
    weights,
)

ANSWERS = {1: "harder to attack", -1: "easier to attack", 0: "not distinguishable"}


def strongest(entries: Iterable[Entry]) -> Entry | None:
    """The budget and number of steps with the least AdvTWER; None where nothing was attacked."""
    attacked = [entry for entry in entries if entry["step"] > 0]
    return min(attacked, key=lambda e: (e["adv_twer"][0], e["step"]), default=None)


def setting(entry: Entry) -> str:
    """A budget and number of steps in words.

    Example:
        >>> setting({"budget": "eps2", "step": 10})
        'ε = 2, 10 steps'
    """
    return f"{budget_name(entry['budget'])}, {entry['step']} steps"


def sweep_verdict(results: Entry) -> list[str]:
    """Of a sweep: the baseline, all comparisons with it, and the strongest attack."""
    base = baseline(results)
    worst = strongest(base["attack"])
    clean = (
        f"Without attack the {base['heads']}, which the others are compared with, has a WER of "
        f"{interval(base['benign'].get('wer'))} %"
    )
    if worst is None:
        return [f"{clean}.", "Nothing was attacked.", "So nothing is said about robustness."]
    return [
        *sweep_cautions(results, base, results["conditions"]),
        f"{clean}; after {attack_name(results['attack'])} ({setting(worst)}) its transcript is "
        f"exactly the attacker's target on {interval(worst['success_rate'])} % of "
        f"{worst['utterances']} utterances.",
        _all_comparisons(results, base),
        _at_the_strongest(results, base, worst),
    ]


def _all_comparisons(results: Entry, base: Entry) -> str:
    others = [condition for condition in results["conditions"] if condition is not base]
    signs = [
        excludes_zero(attack_entry(condition, *key)["difference"])
        for condition in others
        for key in attacked_settings(results)
    ]
    if not signs:
        return "There is no other condition to compare it with."
    return (
        f"Of {len(signs)} paired comparisons with it ({_count(others, 'other condition')}, each "
        f"budget and number of steps) {signs.count(1)} are harder to attack, {signs.count(-1)} "
        f"easier and {signs.count(0)} not distinguishable by their 95 % intervals; "
        f"{by_chance(len(signs))}."
    )


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _at_the_strongest(results: Entry, base: Entry, worst: Entry) -> str:
    key = worst["budget"], worst["step"]
    text = f"Under the attack that is strongest on it ({setting(worst)}) its AdvTWER is "
    text += f"{interval(worst['adv_twer'])} %"
    others = [condition for condition in results["conditions"] if condition is not base]
    if not others:
        return f"{text}; 0 would be the target word for word, always."
    best = max(others, key=lambda condition: attack_entry(condition, *key)["adv_twer"][0])
    entry = attack_entry(best, *key)
    chosen = f", chosen afterwards out of {len(others)}" if len(others) > 1 else ""
    return (
        f"{text}; the highest of the others{chosen}, has {interval(entry['adv_twer'])} % "
        f"({best['heads']}, {weights(best)}), a paired difference of "
        f"{interval(entry['difference'])} points: {ANSWERS[excludes_zero(entry['difference'])]}."
    )


def attack_verdict(results: Entry, settings: Entry) -> list[str]:
    """Of an attack on one recognizer: the transcripts, the target, and how loud it was.

    Args:
        results: of `asr_attack`.
        settings: of attack.json.
    """
    worst = strongest(results["scores"])
    if worst is None:
        return ["Nothing was attacked."]
    clean = attack_entry({"attack": results["scores"]}, worst["budget"], 0)
    return [
        *attack_cautions(results["scores"], settings),
        _transcripts(clean, worst, settings),
        _target(clean, worst, settings),
        f"The perturbation is {_decibel(worst['snr_median'])} below the speech (median SNR; lowest "
        f"{_decibel(worst['snr_min'])}); no noise of the same size was tried beside it, so how "
        "much of this any perturbation of that size would do is not shown.",
    ]


def _transcripts(clean: Entry, worst: Entry, settings: Entry) -> str:
    attack = f"{attack_name(settings)} ({setting(worst)})"
    if "wer" not in worst:
        return f"No references were given, so the WER under {attack} is not known."
    return (
        f"The WER is {interval(clean['wer'])} % without attack and {interval(worst['wer'])} % "
        f"under {attack}, on {worst['utterances']} utterances: {_apart(clean, worst, 'wer')}."
    )


def _target(clean: Entry, worst: Entry, settings: Entry) -> str:
    if not settings.get("targeted", True):
        return "The attack had no target, so AdvTWER and success say nothing here."
    return (
        f"The attacker's target is heard word for word in {interval(worst['success_rate'])} % of "
        f"utterances, and AdvTWER goes from {interval(clean['adv_twer'])} % to "
        f"{interval(worst['adv_twer'])} %: {_apart(clean, worst, 'adv_twer')}."
    )


def _apart(clean: Entry, worst: Entry, key: str) -> str:
    """Whether two intervals touch; stricter than a paired difference."""
    (_, low, high), (_, other_low, other_high) = clean[key], worst[key]
    if None in (low, high, other_low, other_high):
        return "there are too few utterances for intervals"
    if high < other_low or other_high < low:
        return "the intervals do not overlap"
    return "the intervals overlap, so this is not distinguishable from no attack"


def _decibel(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.1f} dB"
