"""What the numbers of attacks on recognisers, and of sweeps of these, say."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record
from espnet_ext.report.findings import LIMITS, Finding, Signs
from espnet_ext.report.results import (
    AttackScores,
    ConditionResult,
    Numbers,
    SweepResults,
)
from espnet_ext.report.wording import attack_name, weights


def attack_entry(condition: ConditionResult, setting: AttackScores) -> AttackScores:
    """Scores of a condition under the same attack as another entry."""
    same = setting["method"], setting["budget"], setting["step"]
    return next(e for e in condition["attack"] if (e["method"], e["budget"], e["step"]) == same)


def attacked_settings(results: SweepResults, noise: bool = False) -> list[AttackScores]:
    """Entries of the first condition, one for each attack; without those of no attack.

    Args:
        results: of a sweep.
        noise: with those of noise of the same size.
    """
    entries = results["conditions"][0]["attack"]
    return [e for e in entries if e["step"] > 0 and (noise or e["method"] != NOISE)]


def baseline(results: SweepResults) -> ConditionResult:
    """The condition that the others are compared with."""
    return next(
        c
        for c in results["conditions"]
        if [c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]] == results["baseline"]
        and c["variant"] == results["baseline_variant"]
    )


def clean_wer(condition: ConditionResult) -> Numbers | None:
    """The WER without attack; None where there are no references."""
    wer = condition["benign"].get("wer")
    return None if isinstance(wer, int) else wer


def sweep_cautions(
    results: SweepResults, conditions: Sequence[ConditionResult]
) -> Iterator[Finding]:
    """What to know first of conditions of a sweep.

    Args:
        results: of `asr_report`.
        conditions: those that are spoken of.
    """
    found = {f"{c['heads']} ({weights(c)})": clean_wer(c) for c in conditions}
    errors = {name: wer[0] or 0.0 for name, wer in found.items() if wer}
    yield from _weak(errors)
    if wer := clean_wer(base := baseline(results)):
        ours = wer[0] or 0.0
        unlike = {n: value for n, value in errors.items() if abs(value - ours) > LIMITS.UNLIKE_WER}
        if unlike:
            yield Finding("unlike", {"heads": base["heads"], "wer": ours, "models": unlike})
    yield from _long_steps(results["attack"], [e for c in conditions for e in c["attack"]])


def attack_cautions(scores: Sequence[AttackScores], settings: Record) -> Iterator[Finding]:
    """What to know first of an attack on one recogniser.

    Args:
        scores: of `asr_attack`.
        settings: of the attack.
    """
    clean = [entry["wer"][0] or 0.0 for entry in scores if entry["step"] == 0 and "wer" in entry]
    yield from _weak({"this model": clean[0]} if clean else {})
    yield from _long_steps(settings, scores)


def _weak(errors: Mapping[str, float]) -> Iterator[Finding]:
    weak = {name: value for name, value in errors.items() if value >= LIMITS.WEAK_WER}
    if weak:
        yield Finding("weak", {"models": weak})


def _long_steps(settings: Record, entries: Sequence[AttackScores]) -> Iterator[Finding]:
    """Budgets whose ball is only a few steps wide, so that PGD overshoots."""
    step = settings.get("eps_step")
    if not step or settings.get("norm") != 2:
        return
    shares: dict[str, float] = {}
    for entry in entries:
        # What was used of the ball after most steps; it is the radius where the budget binds.
        if entry["budget"].startswith("snr") and entry["step"] and entry["l2_median"]:
            used = step / entry["l2_median"]
            shares[entry["budget"]] = min(used, shares.get(entry["budget"], used))
    long = {budget: share for budget, share in shares.items() if share > LIMITS.LONG_STEP}
    if long:
        yield Finding("long_steps", {"step": step, "shares": long})


def strongest(entries: Iterable[AttackScores]) -> AttackScores | None:
    """The attack with the least AdvTWER, noise left out; None where nothing was attacked."""
    attacked = [e for e in entries if e["step"] > 0 and e["method"] != NOISE]
    return min(attacked, key=lambda e: (e["adv_twer"][0] or 0.0, e["step"]), default=None)


def sweep_findings(results: SweepResults) -> Iterator[Finding]:
    """Of a sweep: cautions, the baseline, all comparisons with it, and the strongest attack."""
    base, conditions = baseline(results), results["conditions"]
    yield from sweep_cautions(results, conditions)
    about = {"heads": base["heads"], "wer": clean_wer(base)}
    worst = strongest(base["attack"])
    if worst is None:
        yield Finding("not_attacked", about)
        return
    yield Finding("baseline", {**about, "attack": attack_name(results["attack"]), "entry": worst})
    others = [c for c in conditions if c is not base]
    settings = attacked_settings(results)
    pairs = [attack_entry(c, setting)["difference"] for c in others for setting in settings]
    yield Finding("comparisons", {"others": len(others), "signs": Signs.of(pairs)})
    found: Record = {"entry": worst, "others": len(others)}
    if others:
        entries = [(c, attack_entry(c, worst)) for c in others]
        best, entry = max(entries, key=lambda pair: pair[1]["adv_twer"][0] or 0.0)
        found |= {"best": f"{best['heads']}, {weights(best)}", "highest": entry}
    yield Finding("strongest", found)


def setting_findings(results: SweepResults) -> Iterator[Finding]:
    """For each budget and number of steps how many conditions differ from the baseline."""
    others = [c for c in results["conditions"] if c is not baseline(results)]
    for entry in attacked_settings(results) if others else ():
        signs = Signs.of([attack_entry(c, entry)["difference"] for c in others])
        yield Finding("setting", {"entry": entry, "signs": signs})


def attack_findings(scores: Sequence[AttackScores], settings: Record) -> Iterator[Finding]:
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
    aimless = {"goal": settings.get("goal", ""), "entry": worst}
    targeted = settings.get("targeted", True)
    yield Finding("target", about) if targeted else Finding("no_target", aimless)
    noise = next((entry for entry in same if entry["method"] == NOISE), None)
    yield Finding("loudness", {"entry": worst, "noise": noise})
