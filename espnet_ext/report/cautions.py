"""What a reader must know before any other sentence about a result.

A model that recognises nothing cannot be attacked, models of different quality cannot be compared,
and an attack with too long steps finds too little. RESULTS.md, the page and the cards say these
sentences first.
"""

from collections.abc import Sequence

from espnet_ext.report.experiments import Entry
from espnet_ext.report.figures import budget_name
from espnet_ext.report.tables import weights

WEAK_WER = 50.0  # percent: half of the words are wrong without any attack
UNLIKE_WER = 10.0  # points between two models whose AdvTWER is compared
LONG_STEP = 0.2  # of the radius of the ball; 0.3 to 0.6 found a third of what falling steps found


def sweep_cautions(results: Entry, base: Entry, conditions: Sequence[Entry]) -> list[str]:
    """Of conditions of a sweep.

    Args:
        results: of `asr_report`.
        base: the condition that the others are compared with.
        conditions: those that are spoken of.
    """
    errors = {_name(c): c["benign"]["wer"] for c in conditions if "wer" in c["benign"]}
    ours = base["benign"].get("wer")
    unlike = [
        f"{name} {value[0]:.1f} %"
        for name, value in errors.items()
        if ours and abs(value[0] - ours[0]) > UNLIKE_WER
    ]
    found = _weak({name: value[0] for name, value in errors.items()})
    if unlike and ours:
        found.append(
            f"These models are too different to be compared by AdvTWER: without attack the WER of "
            f"the {base['heads']} is {ours[0]:.1f} %, and more than {UNLIKE_WER:g} points away are "
            f"{'; '.join(unlike)}. A model that misses the reference also misses the attacker's "
            "target, and so looks robust."
        )
    return [*found, *_long_steps(results["attack"], [e for c in conditions for e in c["attack"]])]


def attack_cautions(scores: Sequence[Entry], settings: Entry) -> list[str]:
    """Of an attack on one recognizer.

    Args:
        scores: by budget and number of steps, of `asr_attack`.
        settings: of the attack.
    """
    clean = [entry["wer"][0] for entry in scores if entry["step"] == 0 and "wer" in entry]
    return [*_weak({"this model": clean[0]} if clean else {}), *_long_steps(settings, scores)]


def _name(condition: Entry) -> str:
    return f"{condition['heads']} ({weights(condition)})"


def _weak(errors: dict[str, float]) -> list[str]:
    weak = [f"{name} {value:.1f} %" for name, value in errors.items() if value >= WEAK_WER]
    if not weak:
        return []
    return [
        "Nothing follows about the robustness of a model that recognises little without attack "
        f"(WER of {WEAK_WER:g} % or more): WER of {'; '.join(weak)}."
    ]


def _long_steps(settings: Entry, entries: Sequence[Entry]) -> list[str]:
    """Budgets whose ball is only a few steps wide, so that PGD overshoots."""
    step = settings.get("eps_step")
    if not step or settings.get("norm") != 2:
        return []
    shares: dict[str, float] = {}
    for entry in entries:
        # What was used of the ball after most steps; it is the radius where the budget binds.
        if entry["budget"].startswith("snr") and entry["step"] and entry.get("l2_median"):
            used = step / entry["l2_median"]
            shares[entry["budget"]] = min(used, shares.get(entry["budget"], used))
    long = [f"{100 * v:.0f} % at {budget_name(b)}" for b, v in shares.items() if v > LONG_STEP]
    if not long:
        return []
    return [
        f"This attack is too weak to show robustness, or differences in it: one step of {step:g} "
        f"is a large part of the ball's radius ({', '.join(long)}), so the search goes to and fro. "
        "In trials steps that become shorter found two to three times as much of the targets with "
        "as many gradients; measure again before you conclude anything."
    ]
