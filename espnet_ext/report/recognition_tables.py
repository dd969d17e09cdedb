"""Tables of attacks on recognisers, and of sweeps of these, from results.json."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from espnet_ext.data.attack_log import NOISE, PGD
from espnet_ext.report.comparisons import note, remains
from espnet_ext.report.layout import SweepTable, Weight
from espnet_ext.report.recognition_findings import attack_entry, attacked_settings, baseline
from espnet_ext.report.results import AttackScores, ConditionResult, HeardBy, SweepResults
from espnet_ext.report.tables import Cell, markdown_table, overlap_sections, pivot
from espnet_ext.report.wording import (
    arrow,
    budget_name,
    condition_title,
    listener_name,
    method_name,
    number,
    setting_name,
    shown,
    weights,
    with_arrow,
)

LEGEND = (
    "AdvTWER in %, with 95 % intervals; higher is harder to attack. **Bold**: highest in its row. "
    "↑ ↓: the paired difference to the {baseline} is above or below zero with its whole interval."
)
BENIGN = (
    "{utterances} test utterances. A poorly converged decoder misses the attacker's target as it "
    "misses the reference, and so looks robust: compare models of like WER only (↑ ↓: the paired "
    "difference to the baseline is above or below zero with its whole interval)."
)
MEASURES = {"wer": "WER %", "wer_difference": "less the baseline's", "cer": "CER %"}
Columns = dict[str, Callable[[AttackScores], str]]  # heading to what stands below it
STRENGTH: Columns = {
    "success %": lambda e: shown(e["success_rate"]),
    "median SNR dB": lambda e: number(e["snr_median"]),
    "lowest SNR dB": lambda e: number(e["snr_min"]),
}
HEARD: dict[Literal["adv_twer", "wer", "otherwise"], str] = {
    "adv_twer": "AdvTWER %",
    "wer": "WER %",
    "otherwise": "heard otherwise %",
}
WORDS = (
    "What was heard beside the attacker's target and the reference, words of all utterances: heard "
    "rightly / substituted / deleted / inserted, after the last step of each attack."
)
SPENT: Columns = {
    "gradients": lambda e: number(e.get("gradients"), 0),
    "queries": lambda e: number(e.get("queries"), 0),
}
OTHERS: SweepTable = {
    "title": "Other conditions",
    "columns": ["asr_weight", "ctc_weight", "inference_ctc_weight"],
    "conditions": [],
}


def sweep_tables(results: SweepResults) -> list[str]:
    """All tables of a sweep with their headings."""
    sections = ["## Without attack", *_benign(results)]
    legend = LEGEND.format(baseline=baseline(results)["heads"])
    entries = [entry for c in results["conditions"] for entry in c["attack"]]
    for budget in dict.fromkeys(entry["budget"] for entry in attacked_settings(results)):
        sections += [f"## Under attack, {budget_name(budget)}", legend]
        for table, conditions in chosen_conditions(results):
            text = adv_twer_table(conditions, table["columns"], budget)
            sections += [f"### {table['title']}", text, *note(entries, "difference")]
        sections += ["### Differences to the baseline", _difference_table(results, budget)]
    sections += ["## The attack itself", _sizes(results)]
    names = [(f"{c['heads']} ({weights(c)})", c["attack"]) for c in results["conditions"]]
    sections += [*listener_tables(dict(names)), *words_tables(dict(names))]
    return sections + overlap_sections(results.get("overlap"))


def chosen_conditions(results: SweepResults) -> list[tuple[SweepTable, list[ConditionResult]]]:
    """Each table of the layout that has two conditions or more, and one of all the others."""
    # Tables of a paper have no variants; these are among the other conditions.
    papers = {
        (c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]): c
        for c in results["conditions"]
        if not c["variant"]
    }
    tables = [
        (table, [papers[key] for key in map(tuple, table["conditions"]) if key in papers])
        for table in results["layout"].get("tables", [])
    ]
    # A table of one column compares nothing.
    tables = [(table, conditions) for table, conditions in tables if len(conditions) > 1]
    # Conditions are dictionaries, which a set cannot hold.
    listed = [id(c) for _, conditions in tables for c in conditions]
    others = [c for c in results["conditions"] if id(c) not in listed]
    return [*tables, *([(OTHERS, others)] if others else [])]


def adv_twer_table(
    conditions: Sequence[ConditionResult], columns: Sequence[Weight], budget: str
) -> str:
    """AdvTWER by number of steps, a column per condition.

    The highest value of a row is bold. An arrow says that the paired interval of the
    difference to the baseline excludes zero: up for harder to attack, down for easier.

    Args:
        conditions: of `results.json`.
        columns: weights that name a condition.
        budget: tag of the budget.
    """
    cells = []
    for setting in (e for e in conditions[0]["attack"] if e["budget"] == budget):
        method, step = setting["method"], setting["step"]
        name = (
            method if method == NOISE else f"{method_name(method)}-{step}" if step else "no attack"
        )
        entries = [attack_entry(condition, setting) for condition in conditions]
        best = max(entry["adv_twer"][0] or 0.0 for entry in entries)
        for condition, entry in zip(conditions, entries, strict=True):
            text = shown(entry["adv_twer"])
            bold = entry["adv_twer"][0] == best and step
            text = f"**{text}**" if bold else text
            text += arrow(entry["difference"], remains(entry, "difference"))
            cells.append(([name], weights(condition, columns), text))
    return pivot([""], cells)


def _benign(results: SweepResults) -> list[str]:
    conditions = results["conditions"]
    keys = [key for key in MEASURES if key in conditions[0]["benign"]] + sorted(
        {key for c in conditions for key in c["benign"] if key.endswith("_accuracy")}
    )
    several = any(len(c["training_seeds"] or []) > 1 for c in conditions)
    cells = []
    for c in conditions:
        values = {k: v for k, v in c["benign"].items() if not isinstance(v, int)}
        seeds = [str(len(c["training_seeds"] or [None]))] if several else []
        lambdas = [c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]]
        row = [c["heads"], *seeds, *(f"{value:g}" for value in lambdas)]
        for key in keys:
            title = MEASURES.get(key, f"{key.removesuffix('_accuracy')} accuracy %")
            text = shown(values.get(key))
            if key == "wer_difference":
                text = with_arrow(values.get(key), remains(c, key))
            cells.append((row, title, text))
    headings = ["model", *(["seeds"] if several else []), "λ_A", "λ_C", "inference λ_C"]
    about = BENIGN.format(utterances=conditions[0]["benign"]["utterances"])
    return [about, pivot(headings, cells), *note(conditions, "wer_difference")]


def _difference_table(results: SweepResults, budget: str) -> str:
    settings = [e for e in attacked_settings(results, noise=True) if e["budget"] == budget]
    # Columns of PGD alone need no method beside the steps.
    named = any(e["method"] != PGD for e in settings)
    columns = [f"{e['method']} {e['step']}" if named else str(e["step"]) for e in settings]
    cells = [
        ([condition_title(c)], name, shown(attack_entry(c, entry)["difference"]))
        for c in results["conditions"]
        if c is not baseline(results)
        for name, entry in zip(columns, settings, strict=True)
    ]
    return pivot(["AdvTWER less that of the baseline"], cells, columns)


def _sizes(results: SweepResults) -> str:
    """What the attack did to the baseline: success, loudness, loss."""
    entries = [attack_entry(baseline(results), e) for e in attacked_settings(results, noise=True)]
    columns: Columns = {
        **STRENGTH,
        "median L2": lambda e: number(e["l2_median"], 3),
        "mean loss": lambda e: number(e["loss_mean"], 2),
    }
    cells = [([setting_name(e)], name, cell(e)) for e in entries for name, cell in columns.items()]
    return pivot(["baseline"], cells, list(columns))


def listener_tables(results: Mapping[str, Sequence[AttackScores]]) -> list[str]:
    """AdvTWER and WER as other searches on the model hear it, beside what the attack aimed at.

    Args:
        results: see `words_tables`.

    Returns:
        heading and table of all numbers of steps; nothing where nobody else listened.
    """
    cells: list[Cell] = []
    for name, scores in results.items():
        for entry in (e for e in scores if "heard_by" in e):
            what = setting_name(entry) if entry["step"] else f"{budget_name(entry['budget'])}, none"
            row = [*filter(None, [name]), what]
            own: HeardBy = {"adv_twer": entry["adv_twer"]}
            own |= {"wer": entry["wer"]} if "wer" in entry else {}
            by = {listener_name(who): heard for who, heard in entry["heard_by"].items()}
            for measure, title in HEARD.items():
                for who, heard in ({"as attacked": own} | by).items():
                    if value := heard.get(measure):
                        cells.append((row, f"{title}, {who}", shown(value)))
    named = ["condition"] if any(results) else []
    return ["## Heard by other searches", pivot([*named, "attack"], cells)] if cells else []


def words_tables(results: Mapping[str, Sequence[AttackScores]]) -> list[str]:
    """Words that were heard, and errors by kind, against target and reference.

    Args:
        results: scores by what was attacked, "" where it needs no name.

    Returns:
        heading, legend and a row per budget and attack, of its last step, and one per budget
        without attack; nothing of results of earlier versions.
    """
    cells: list[Cell] = []
    for name, scores in results.items():
        last = {(e["method"], e["budget"], e["step"] > 0): e for e in scores}  # steps ascend
        for entry in last.values():
            what = setting_name(entry) if entry["step"] else f"{budget_name(entry['budget'])}, none"
            row = [*filter(None, [name]), what]
            words = {"target": entry.get("target_words"), "reference": entry.get("reference_words")}
            for text, counts in words.items():
                if counts:
                    title = f"{text}: hits / sub / del / ins"
                    cells.append((row, title, " / ".join(map(str, counts.values()))))
    named = ["condition"] if any(results) else []
    table = pivot([*named, "attack"], cells)
    return ["## Words heard", WORDS, table] if cells else []


def scores_table(scores: Sequence[AttackScores]) -> str:
    """Scores of an attack on one recogniser, a row per budget and number of steps."""
    columns: Columns = {
        "AdvTWER %": lambda e: shown(e["adv_twer"]),
        "WER %": lambda e: shown(e.get("wer")),
        **STRENGTH,
        **(SPENT if any("gradients" in e for e in scores) else {}),
    }
    rows = [
        [setting_name(e) if e["step"] else "no attack", *(cell(e) for cell in columns.values())]
        for e in scores
    ]
    return markdown_table(["attack", *columns], rows)
