"""What the numbers of attacks on recognisers, and of sweeps of these, say."""

from collections.abc import Iterable, Iterator, Sequence

from espnet_ext.data.attack_log import NOISE
from espnet_ext.data.files import Record
from espnet_ext.metrics.bootstrap import RESAMPLES
from espnet_ext.report.comparisons import family
from espnet_ext.report.findings import Finding, Signs
from espnet_ext.report.results import (
    AttackScores,
    Benign,
    ConditionResult,
    Numbers,
    SweepResults,
)
from espnet_ext.report.wording import attack_name, weights


def attack_entry(condition: ConditionResult, setting: AttackScores) -> AttackScores:
    """Scores of a condition under the same attack as another entry."""
    # Every condition has it: `make_results` refuses attacks with different settings.
    same = setting["method"], setting["budget"], setting["step"]
    return next(e for e in condition["attack"] if (e["method"], e["budget"], e["step"]) == same)


def attacked_settings(results: SweepResults, noise: bool = False) -> list[AttackScores]:
    """Entries of the first condition, one for each attack; without those of no attack.

    Args:
        results: of a sweep.
        noise: with those of noise of the same size.
    """
    # All conditions have the same attacks, so the first one tells which.
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
    return _with_interval(condition["benign"], "wer")


def _with_interval(benign: Benign, name: str) -> Numbers | None:
    value = benign.get(name)
    # The number of utterances stands among the measures.
    return None if isinstance(value, int) else value


def strongest(entries: Iterable[AttackScores], targeted: bool = True) -> AttackScores | None:
    """The attack that comes closest to its goal, noise left out; None where nothing was attacked.

    Args:
        entries: scores of one model.
        targeted: whether least AdvTWER is closest; else most successes, then most WER, are.
    """

    def _distance(entry: AttackScores) -> tuple[float, ...]:
        if targeted:
            # Of attacks that are equally close, the one with the fewest steps.
            return entry["adv_twer"][0] or 0.0, entry["step"]
        # AdvTWER says nothing about an attack without a target.
        wer = entry["wer"][0] if "wer" in entry else None
        return -(entry["success_rate"][0] or 0.0), -(wer or 0.0), entry["step"]

    attacked = [e for e in entries if e["step"] > 0 and e["method"] != NOISE]
    return min(attacked, key=_distance, default=None)


def sweep_findings(results: SweepResults) -> Iterator[Finding]:
    """Of a sweep: the baseline, all comparisons with it, and the strongest attack."""
    base, conditions = baseline(results), results["conditions"]
    about = {"heads": base["heads"], "wer": clean_wer(base)}
    worst = strongest(base["attack"], results["attack"].get("targeted", True))
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
    # Results from before there were flags keep the text that they have.
    if "flags" in results:
        yield from controls(base, others, worst)


def controls(
    base: ConditionResult, others: Sequence[ConditionResult], worst: AttackScores
) -> Iterator[Finding]:
    """Noise of the size of an attack, and whether what is compared is alike without attack.

    Args:
        base: the baseline.
        others: the conditions that are compared with it.
        worst: the attack on the baseline.
    """
    noise = [e for e in base["attack"] if (e["method"], e["budget"]) == (NOISE, worst["budget"])]
    yield Finding("loudness", {"entry": worst, "noise": noise[0] if noise else None})
    gaps = [
        abs(wer[0] or 0.0) for c in others if (wer := _with_interval(c["benign"], "wer_difference"))
    ]
    if gaps:
        yield Finding("alike", {"measure": "WER", "most": max(gaps)})


def family_findings(results: SweepResults) -> Iterator[Finding]:
    """How many comparisons there are, by chance, and after correction."""
    others = [c for c in results["conditions"] if c is not baseline(results)]
    settings = attacked_settings(results)
    entries = [attack_entry(c, setting) for c in others for setting in settings]
    yield from family("AdvTWER less that of the baseline", entries, "difference", RESAMPLES)
    yield from family("WER less that of the baseline", others, "wer_difference", RESAMPLES)


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
    targeted = settings.get("targeted", True)
    worst = strongest(scores, targeted)
    if worst is None:
        yield Finding("nothing", {})
        return
    same = [entry for entry in scores if entry["budget"] == worst["budget"]]
    clean = next(entry for entry in same if entry["step"] == 0)
    about = {"clean": clean, "entry": worst}
    yield Finding("transcripts", {"attack": attack_name(settings), **about})
    aimless = {"goal": settings.get("goal", ""), "entry": worst}
    yield Finding("target", about) if targeted else Finding("no_target", aimless)
    noise = next((entry for entry in same if entry["method"] == NOISE), None)
    yield Finding("loudness", {"entry": worst, "noise": noise})
