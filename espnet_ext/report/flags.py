"""Flags: reasons not to trust an evaluation, as facts, for every kind of model.

An attack that fails shows a robust model only where the attack was a good one. Each flag is a
`Finding` whose sentence is in `sentences.jinja`; egs2/evaluation.md lists them. They are found in
results.json alone, so that a result that is kept can be asked again.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from espnet_ext.data.attack_log import CLEAN, NOISE, RECORD, TRANSFER
from espnet_ext.data.files import Record, read_record
from espnet_ext.report.comparisons import GRADIENT_FREE, remains
from espnet_ext.report.countermeasure_findings import at_chance, constant_answer
from espnet_ext.report.findings import LIMITS, Finding, sentence
from espnet_ext.report.recognition_findings import baseline, clean_wer
from espnet_ext.report.results import (
    AttackResults,
    AttackScores,
    ConditionResult,
    CountermeasureResults,
    CurvePoint,
    GradientShares,
    Numbers,
    SweepResults,
)
from espnet_ext.report.wording import condition_title, excludes_zero

OF_EARLIER = ("weak", "unlike", "long_steps", "near_chance")
"""What was said before there were flags; results of that time say these and no others."""
Point = AttackScores | CurvePoint


class Evaluated(NamedTuple):
    """A model that was attacked by somebody who has it.

    Attributes:
        name: for sentences.
        points: every setting of the attack, and no attack.
        checked: what was seen of its gradient.
        targeted: whether the loss is to fall.
    """

    name: str
    points: Sequence[Point]
    checked: GradientShares | None
    targeted: bool


def gradient_shares(records: Iterable[Record]) -> GradientShares | None:
    """The worst of what some attack.json say of the gradient; None where none says anything."""
    found: list[GradientShares] = [r["gradient_check"] for r in records if "gradient_check" in r]
    if not found:
        return None
    return {
        "unusable": max(shares["unusable"] for shares in found),
        "unrepeatable": max(shares["unrepeatable"] for shares in found),
        "misleading": max(shares["misleading"] for shares in found),
    }


def gradient_flags(checked: Mapping[str, GradientShares]) -> Iterator[Finding]:
    """Flags of gradients.

    Args:
        checked: by name of the model.
    """
    unusable = {n: c["unusable"] for n, c in checked.items() if c["unusable"] > 0.0}
    unrepeatable = {n: c["unrepeatable"] for n, c in checked.items() if c["unrepeatable"] > 0.0}
    misleading = {
        n: c["misleading"] for n, c in checked.items() if c["misleading"] > LIMITS.MISLEADING
    }
    if unusable:
        yield Finding("gradient_unusable", {"models": unusable})
    if unrepeatable:
        yield Finding("gradient_unrepeatable", {"models": unrepeatable})
    if misleading:
        yield Finding("gradient_misleading", {"models": misleading})


def warn_of_gradient(output_dir: str | Path) -> None:
    """Warn where attack.json in a directory says that the gradient cannot be followed."""
    if checked := gradient_shares([read_record(Path(output_dir) / RECORD)]):
        for flag in gradient_flags({"this model": checked}):
            logging.warning("%s", sentence(flag))


def evaluation_flags(models: Sequence[Evaluated]) -> Iterator[Finding]:
    """Flags of attacks by somebody who has the models."""
    yield from gradient_flags({m.name: m.checked for m in models if m.checked})
    if in_vain := [about for model in models for about in _in_vain(model)]:
        yield Finding("loss_without_success", {"found": in_vain})
    points = [(model, point) for model in models for point in _attacks(model)]
    yield from _unexpected("more_steps_weaker", points, "steps_gain", -1)
    yield from _unexpected("more_budget_weaker", points, "budget_gain", -1)
    yield from _unexpected("gradient_free_stronger", points, "gradient_free_gain", 1)
    yield from _kept("gradient_free_kept", points, GRADIENT_FREE)
    yield from _kept("transfer_kept", points, (TRANSFER,))
    yield from _no_plateau(points)


def _attacks(model: Evaluated) -> list[Point]:
    return [point for point in model.points if point["step"] > 0 and point["method"] != NOISE]


def _about(model: str, point: Point) -> Record:
    return {"model": model, **{key: point[key] for key in ("method", "budget", "step")}}


def _in_vain(model: Evaluated) -> Iterator[Record]:
    """Attacks that changed the loss by far and nothing else."""
    clean = next((point for point in model.points if point["step"] == 0), None)
    if clean is None or not (before := clean["loss_mean"]):
        return
    for point in _attacks(model):
        loss, heard = point["loss_mean"], (_heard(clean), _heard(point))
        success = (point["success_rate"][0] or 0.0) - (clean["success_rate"][0] or 0.0)
        # Of long transcripts some words may be reached and none as a whole.
        if loss is None or max(success, heard[0] - heard[1]) > LIMITS.NO_SUCCESS:
            continue
        # Ten times a loss near zero is still near zero, hence the 1.
        far = LIMITS.FAR * loss <= before if model.targeted else loss >= LIMITS.FAR * before + 1.0
        if far:
            yield {**_about(model.name, point), "loss": [before, loss], "success": success}


def _heard(point: Point) -> float:
    """AdvTWER; 0 for what writes no transcripts."""
    # A plain dict, because not every kind of point has this key.
    found = cast("Numbers | None", dict(point).get("adv_twer"))
    return found[0] or 0.0 if found else 0.0


def _unexpected(
    kind: str, points: Sequence[tuple[Evaluated, Point]], name: str, sign: int
) -> Iterator[Finding]:
    """A flag where a gain has a sign that it should not have, after Holm's correction."""
    compared = [(model, point) for model, point in points if name in point]
    found = [
        {**_about(model.name, point), "gain": gain}
        for model, point in compared
        if (gain := cast(Numbers, dict(point)[name]))
        and remains(point, name)
        and excludes_zero(gain) == sign
    ]
    if found:
        found.sort(key=_size)
        yield Finding(kind, {"of": len(compared), "found": found})


def _size(about: Record) -> float:
    """What facts are sorted by: the largest gain first."""
    return -abs(about["gain"][0] or 0.0)


def _kept(
    kind: str, points: Sequence[tuple[Evaluated, Point]], names: Sequence[str]
) -> Iterator[Finding]:
    """A flag where the worst case is often that of attacks that should be weaker."""
    found = []
    for model, point in points:
        kept = point.get("strongest", {})
        those, every = sum(kept.get(name, 0) for name in names), sum(kept.values())
        # A single utterance says nothing.
        if those > 1 and those > LIMITS.KEPT * every:
            found.append({**_about(model.name, point), "kept": those, "utterances": every})
    if found:
        found.sort(key=lambda about: -about["kept"] / about["utterances"])
        yield Finding(kind, {"found": found})


def _no_plateau(points: Sequence[tuple[Evaluated, Point]]) -> Iterator[Finding]:
    """A flag where the last doubling of the steps made an attack stronger that has room left."""
    # Steps ascend, so the entry of the most steps remains.
    last = {(m.name, p["method"], p["budget"]): (m, p) for m, p in points if "steps_gain" in p}
    found = [
        {**_about(model.name, point), "gain": gain}
        for model, point in last.values()
        if (gain := point["steps_gain"])
        and excludes_zero(gain) == 1
        and (gain[0] or 0.0) >= LIMITS.PLATEAU
        and not _finished(model, point)
    ]
    if found:
        found.sort(key=_size)
        yield Finding("no_plateau", {"of": len(last), "found": found})


def _finished(model: Evaluated, point: Point) -> bool:
    """Whether an attack has nearly all that it can have; without a target words have no end."""
    if "adv_twer" in point:
        return model.targeted and _heard(point) <= LIMITS.NO_SUCCESS
    return (point["success_rate"][0] or 0.0) >= 100.0 - LIMITS.NO_SUCCESS


# Recognisers


def sweep_flags(
    results: SweepResults, conditions: Sequence[ConditionResult] | None = None
) -> Iterator[Finding]:
    """Flags of a sweep.

    Args:
        results: of `asr_report`.
        conditions: those that are spoken of; all if not given.
    """
    conditions = results["conditions"] if conditions is None else conditions
    found = {condition_title(c): clean_wer(c) for c in conditions}
    errors = {name: wer[0] or 0.0 for name, wer in found.items() if wer}
    yield from _weak(errors)
    if wer := clean_wer(base := baseline(results)):
        ours = wer[0] or 0.0
        unlike = {n: value for n, value in errors.items() if abs(value - ours) > LIMITS.UNLIKE_WER}
        if unlike:
            yield Finding("unlike", {"heads": base["heads"], "wer": ours, "models": unlike})
    scores = {condition_title(c): c["attack"] for c in conditions}
    yield from _recognition_flags(scores, results["attack"])
    # The audio of a transfer was made on another model: its attack cannot be judged here.
    if "made_on" not in results:
        targeted = results["attack"].get("targeted", True)
        yield from evaluation_flags(
            [
                Evaluated(condition_title(c), c["attack"], c.get("gradient_check"), targeted)
                for c in conditions
            ]
        )


def attack_flags(results: AttackResults, record: Record) -> Iterator[Finding]:
    """Flags of an attack on one recogniser.

    Args:
        results: of `asr_attack` or `asr_transfer`.
        record: attack.json; may be empty.
    """
    scores, name = results["scores"], "this model"
    clean = [entry["wer"][0] or 0.0 for entry in scores if entry["step"] == 0 and "wer" in entry]
    yield from _weak({name: clean[0]} if clean else {})
    settings = record.get("settings", {})
    yield from _recognition_flags({name: scores}, settings)
    if "made_on" not in record:
        targeted = settings.get("targeted", True)
        checked = results.get("gradient_check")
        yield from evaluation_flags([Evaluated(name, scores, checked, targeted)])


def _weak(errors: Mapping[str, float]) -> Iterator[Finding]:
    weak = {name: value for name, value in errors.items() if value >= LIMITS.WEAK_WER}
    if weak:
        yield Finding("weak", {"models": weak})


def _recognition_flags(
    scores: Mapping[str, Sequence[AttackScores]], settings: Record
) -> Iterator[Finding]:
    """Flags of the steps, the control, and the transcripts."""
    entries = [entry for every in scores.values() for entry in every]
    yield from _long_steps(settings, entries)
    attacked = {e["budget"] for e in entries if e["step"] and e["method"] != NOISE}
    if lacking := attacked - {e["budget"] for e in entries if e["method"] == NOISE}:
        yield Finding("no_control", {"of": len(attacked), "lacking": len(lacking)})
    constant = {
        name: {**_about(name, entry), "share": entry["same_answer"]}
        for name, every in scores.items()
        for entry in every[::-1]  # the first one, that is the weakest attack, is kept
        if entry["step"]
        and entry["utterances"] >= LIMITS.SEVERAL
        and entry.get("same_answer", 0.0) >= LIMITS.CONSTANT
        and (entry["success_rate"][0] or 0.0) < 50.0  # it is not what the attacker wants
    }
    if constant:
        yield Finding("same_transcript", {"models": constant})


def _long_steps(settings: Record, entries: Sequence[AttackScores]) -> Iterator[Finding]:
    """Budgets whose ball is only a few steps wide, so that PGD overshoots."""
    step = settings.get("eps_step")
    # The shares below are of L2 norms.
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


# Countermeasures


def countermeasure_flags(
    results: CountermeasureResults, names: Sequence[str] | None = None
) -> Iterator[Finding]:
    """Flags of a report of countermeasures.

    Args:
        results: of `cm_report`.
        names: of the countermeasures that are spoken of; all if not given.
    """
    models = [m for m in results["models"] if names is None or m["name"] in names]
    names = [model["name"] for model in models]
    scored = [model for model in models if model["seeds"]]
    near = {
        model["name"]: model["eer"]
        for model in scored
        # The second condition: its interval reaches chance.
        if (model["eer"][0] or 0.0) >= LIMITS.CHANCE_EER or (model["eer"][2] or 0.0) >= 50.0
    }
    if near:
        yield Finding("near_chance", {"models": near})
    yield from at_chance([model for model in scored if model["name"] not in near])
    yield from _unlike_accuracy(results, names)
    cells = [c for c in results["cells"] if c["target"] in names and c["method"] != NOISE]
    if lacking := [cell for cell in cells if cell["beyond_noise"] is None]:
        yield Finding("no_control", {"of": len(cells), "lacking": len(lacking)})
    constant: dict[str, Record] = {}
    # The smallest epsilon at which a countermeasure gives a constant answer is named.
    for cell in sorted(cells, key=lambda c: c["eps"]):
        if answer := constant_answer(cell):
            about = {key: cell[key] for key in ("source", "method", "eps")}
            constant.setdefault(cell["target"], {**about, "answer": answer})
    if constant:
        yield Finding("constant_answer", {"models": constant})
    evaluated = [
        Evaluated(name, about.get("curve", []), about.get("gradient_check"), targeted=False)
        for name, about in results["attack"].items()
        if name in names
    ]
    yield from evaluation_flags(evaluated)
    compared = [cell for cell in cells if "white_box_gain" in cell]
    stronger = [
        {**{key: cell[key] for key in ("source", "target", "method", "eps")}, "gain": gain}
        for cell in compared
        if remains(cell, "white_box_gain") and excludes_zero(gain := cell["white_box_gain"]) == 1
    ]
    if stronger:
        stronger.sort(key=_size)
        yield Finding("transfer_stronger", {"of": len(compared), "found": stronger})


def _unlike_accuracy(results: CountermeasureResults, names: Sequence[str]) -> Iterator[Finding]:
    """Countermeasures that are compared under attack and differ without it."""
    found = [
        {"model": c["target"], "baseline": c["baseline"], "difference": c["difference"]}
        for c in results["comparisons"]
        if c["method"] == CLEAN
        and c["target"] in names
        and abs(c["difference"][0] or 0.0) > LIMITS.UNLIKE_ACCURACY
    ]
    if found:
        yield Finding("unlike_accuracy", {"found": found})
