"""What the numbers of the recognition half say: facts from results.json, and their sentences.

RESULTS.md, the page and the cards say what must be known first before anything else: a model that
recognises nothing cannot be attacked, models of different quality cannot be compared, and an
attack with too long steps finds too little.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from espnet_ext.data.attack_log import NOISE
from espnet_ext.report.results import (
    AttackScores,
    ConditionResult,
    Numbers,
    Settings,
    SweepResults,
)
from espnet_ext.report.tables import (
    attack_entry,
    attack_name,
    attacked_settings,
    baseline,
    budget_name,
    by_chance,
    excludes_zero,
    interval,
    setting_name,
    weights,
)

WEAK_WER = 50.0  # percent: half of the words are wrong without any attack
UNLIKE_WER = 10.0  # points between two models whose AdvTWER is compared
LONG_STEP = 0.2  # of the radius of the ball; 0.3 to 0.6 found a third of what falling steps found
ANSWERS = {1: "harder to attack", -1: "easier to attack", 0: "not distinguishable"}


class Finding(NamedTuple):
    """A fact: what kind, and its values; `sentence` renders it."""

    kind: str
    values: dict[str, Any]


def sweep_cautions(
    results: SweepResults, base: ConditionResult, conditions: Sequence[ConditionResult]
) -> Iterator[Finding]:
    """What to know first of conditions of a sweep.

    Args:
        results: of `asr_report`.
        base: the condition that the others are compared with.
        conditions: those that are spoken of.
    """
    errors = {
        f"{c['heads']} ({weights(c)})": c["benign"]["wer"][0] or 0.0
        for c in conditions
        if "wer" in c["benign"]
    }
    yield from _weak(errors)
    if "wer" in base["benign"]:
        ours = base["benign"]["wer"][0] or 0.0
        unlike = {n: value for n, value in errors.items() if abs(value - ours) > UNLIKE_WER}
        if unlike:
            yield Finding("unlike", {"heads": base["heads"], "wer": ours, "models": unlike})
    yield from _long_steps(results["attack"], [e for c in conditions for e in c["attack"]])


def attack_cautions(scores: Sequence[AttackScores], settings: Settings) -> Iterator[Finding]:
    """What to know first of an attack on one recogniser.

    Args:
        scores: of `asr_attack`.
        settings: of the attack.
    """
    clean = [entry["wer"][0] or 0.0 for entry in scores if entry["step"] == 0 and "wer" in entry]
    yield from _weak({"this model": clean[0]} if clean else {})
    yield from _long_steps(settings, scores)


def _weak(errors: Mapping[str, float]) -> Iterator[Finding]:
    weak = {name: value for name, value in errors.items() if value >= WEAK_WER}
    if weak:
        yield Finding("weak", {"models": weak})


def _long_steps(settings: Settings, entries: Sequence[AttackScores]) -> Iterator[Finding]:
    """Budgets whose ball is only a few steps wide, so that PGD overshoots."""
    step = settings.get("eps_step")
    if not step or settings.get("norm") != 2:
        return
    shares: dict[str, float] = {}
    for entry in entries:
        # What was used of the ball after most steps; it is the radius where the budget binds.
        if entry["budget"].startswith("snr") and entry["step"] and entry.get("l2_median"):
            used = step / entry["l2_median"]
            shares[entry["budget"]] = min(used, shares.get(entry["budget"], used))
    long = {budget: share for budget, share in shares.items() if share > LONG_STEP}
    if long:
        yield Finding("long_steps", {"step": step, "shares": long})


def strongest(entries: Iterable[AttackScores]) -> AttackScores | None:
    """The attack with the least AdvTWER, noise left out; None where nothing was attacked."""
    attacked = [e for e in entries if e["step"] > 0 and e.get("method") != NOISE]
    return min(attacked, key=lambda e: (e["adv_twer"][0] or 0.0, e["step"]), default=None)


def sweep_findings(results: SweepResults) -> Iterator[Finding]:
    """Of a sweep: cautions, the baseline, all comparisons with it, and the strongest attack."""
    base = baseline(results)
    others = [condition for condition in results["conditions"] if condition is not base]
    worst = strongest(base["attack"])
    clean = {"heads": base["heads"], "wer": base["benign"].get("wer")}
    if worst is None:
        yield Finding("not_attacked", clean)
        return
    yield from sweep_cautions(results, base, results["conditions"])
    about = {"attack": attack_name(results["attack"]), "entry": worst}
    yield Finding("baseline", {**clean, **about})
    signs = [setting["signs"] for _, setting in by_setting(results)]
    counts = {key: sum(s[key] for s in signs) for key in (1, -1, 0)}
    yield Finding("comparisons", {"others": len(others), "signs": counts})
    found: dict[str, Any] = {"entry": worst, "others": len(others)}
    if others:
        pairs = [(c, attack_entry(c, worst)) for c in others]
        best, entry = max(pairs, key=lambda pair: pair[1]["adv_twer"][0] or 0.0)
        found |= {"best": f"{best['heads']}, {weights(best)}", "highest": entry}
    yield Finding("strongest", found)


def by_setting(results: SweepResults) -> Iterator[Finding]:
    """For each budget and number of steps how many conditions differ from the baseline."""
    others = [c for c in results["conditions"] if c is not baseline(results)]
    for entry in attacked_settings(results):
        signs = [excludes_zero(attack_entry(c, entry)["difference"]) for c in others]
        counts = {key: signs.count(key) for key in (1, -1, 0)}
        yield Finding("setting", {"entry": entry, "signs": counts})


def attack_findings(scores: Sequence[AttackScores], settings: Settings) -> Iterator[Finding]:
    """Of an attack on one recogniser: the transcripts, the target, and how loud it was.

    Args:
        scores: of `asr_attack`.
        settings: of attack.json.
    """
    worst = strongest(scores)
    if worst is None:
        yield Finding("nothing", {})
        return
    yield from attack_cautions(scores, settings)
    same = [entry for entry in scores if entry["budget"] == worst["budget"]]
    clean = next(entry for entry in same if entry["step"] == 0)
    about = {"clean": clean, "entry": worst}
    yield Finding("transcripts", {"attack": attack_name(settings), **about})
    targeted, goal = settings.get("targeted", True), settings.get("goal", "")
    yield (
        Finding("target", about)
        if targeted
        else Finding("no_target", {"goal": goal, "entry": worst})
    )
    noise = next((entry for entry in same if entry.get("method") == NOISE), None)
    yield Finding("loudness", {"entry": worst, "noise": noise})


def sentence(finding: Finding) -> str:
    """A fact in words."""
    return _SENTENCES[finding.kind](**finding.values)


def _each(models: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {value:.1f} %" for name, value in models.items())


def _unlike(heads: str, wer: float, models: Mapping[str, float]) -> str:
    return (
        "These models are too different to be compared by AdvTWER: without attack the WER of the "
        f"{heads} is {wer:.1f} %, and more than {UNLIKE_WER:g} points away are {_each(models)}. A "
        "model that misses the reference also misses the attacker's target, and so looks robust."
    )


def _too_long(step: float, shares: Mapping[str, float]) -> str:
    long = ", ".join(f"{100 * v:.0f} % at {budget_name(b)}" for b, v in shares.items())
    return (
        f"This attack is too weak to show robustness, or differences in it: one step of {step:g} "
        f"is a large part of the ball's radius ({long}), so the search goes to and fro. "
        "In trials steps that become shorter found two to three times as much of the targets with "
        "as many gradients; measure again before you conclude anything."
    )


def _baseline(heads: str, wer: Numbers | None, attack: str = "", entry: Any = None) -> str:
    clean = (
        f"Without attack the {heads}, which the others are compared with, has a WER of "
        f"{interval(wer)} %"
    )
    if entry is None:
        return f"{clean}. Nothing was attacked. So nothing is said about robustness."
    return (
        f"{clean}; after {attack} ({setting_name(entry)}) its transcript is exactly the "
        f"attacker's target on {interval(entry['success_rate'])} % of {entry['utterances']} "
        "utterances."
    )


def _comparisons(others: int, signs: Mapping[int, int]) -> str:
    total = sum(signs.values())
    if not total:
        return "There is no other condition to compare it with."
    return (
        f"Of {total} paired comparisons with it ({others} other condition"
        f"{'' if others == 1 else 's'}, each budget and number of steps) {signs[1]} are harder to "
        f"attack, {signs[-1]} easier and {signs[0]} not distinguishable by their 95 % intervals; "
        f"{by_chance(total)}."
    )


def _strongest(entry: AttackScores, others: int, best: str = "", highest: Any = None) -> str:
    text = (
        f"Under the attack that is strongest on it ({setting_name(entry)}) its AdvTWER is "
        f"{interval(entry['adv_twer'])} %"
    )
    if highest is None:
        return f"{text}; 0 would be the target word for word, always."
    chosen = f", chosen afterwards out of {others}" if others > 1 else ""
    return (
        f"{text}; the highest of the others{chosen}, has {interval(highest['adv_twer'])} % "
        f"({best}), a paired difference of {interval(highest['difference'])} points: "
        f"{ANSWERS[excludes_zero(highest['difference'])]}."
    )


def _setting(entry: AttackScores, signs: Mapping[int, int]) -> str:
    return (
        f"{setting_name(entry)}: {signs[1]} harder to attack, {signs[-1]} easier, {signs[0]} not "
        "distinguishable."
    )


def _transcripts(attack: str, clean: AttackScores, entry: AttackScores) -> str:
    attack = f"{attack} ({setting_name(entry)})"
    if "wer" not in entry:
        return f"No references were given, so the WER under {attack} is not known."
    return (
        f"The WER is {interval(clean['wer'])} % without attack and {interval(entry['wer'])} % "
        f"under {attack}, on {entry['utterances']} utterances: "
        f"{_apart(clean['wer'], entry['wer'])}."
    )


def _no_target(goal: str, entry: AttackScores) -> str:
    share = f"{interval(entry['success_rate'])} % of {entry['utterances']} utterances"
    if goal == "silence":
        return f"The model writes nothing for {share}; AdvTWER says nothing of this attack."
    return f"The attack had no target: AdvTWER says nothing, and success ({share}) is any error."


def _target(clean: AttackScores, entry: AttackScores) -> str:
    return (
        f"The attacker's target is heard word for word in {interval(entry['success_rate'])} % of "
        f"utterances, and AdvTWER goes from {interval(clean['adv_twer'])} % to "
        f"{interval(entry['adv_twer'])} %: {_apart(clean['adv_twer'], entry['adv_twer'])}."
    )


def _apart(clean: Numbers, worst: Numbers) -> str:
    """Whether two intervals touch; stricter than a paired difference."""
    (_, low, high), (_, other_low, other_high) = clean, worst
    if low is None or high is None or other_low is None or other_high is None:
        return "there are too few utterances for intervals"
    if high < other_low or other_high < low:
        return "the intervals do not overlap"
    return "the intervals overlap, so this is not distinguishable from no attack"


def _loudness(entry: AttackScores, noise: AttackScores | None) -> str:
    median, least = (
        "not measured" if v is None else f"{v:.1f} dB"
        for v in (entry["snr_median"], entry["snr_min"])
    )
    text = f"The perturbation is {median} below the speech (median SNR; lowest {least})"
    if noise is None:
        return (
            f"{text}; no noise of the same size was tried beside it, so how much of this any "
            "perturbation of that size would do is not shown."
        )
    wer = f"the WER is {interval(noise['wer'])} % and " if "wer" in noise else ""
    return f"{text}; under noise of the same size {wer}AdvTWER is {interval(noise['adv_twer'])} %."


_SENTENCES: dict[str, Callable[..., str]] = {
    "weak": lambda models: (
        "Nothing follows about the robustness of a model that recognises little without attack "
        f"(WER of {WEAK_WER:g} % or more): WER of {_each(models)}."
    ),
    "unlike": _unlike,
    "long_steps": _too_long,
    "not_attacked": _baseline,
    "baseline": _baseline,
    "comparisons": _comparisons,
    "strongest": _strongest,
    "setting": _setting,
    "nothing": lambda: "Nothing was attacked.",
    "transcripts": _transcripts,
    "target": _target,
    "no_target": _no_target,
    "loudness": _loudness,
}
