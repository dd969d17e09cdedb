"""RESULTS.md, made from results.json and nothing else."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_ext.data.files import write_text
from espnet_ext.report.cautions import sweep_cautions
from espnet_ext.report.figures import budget_name
from espnet_ext.report.overlap import overlap_sections
from espnet_ext.report.tables import (
    ARROWS,
    Entry,
    adv_twer_table,
    attack_entry,
    attack_name,
    attacker,
    by_chance,
    excludes_zero,
    interval,
    markdown_table,
    table_1,
    table_2,
    table_3,
    weights,
)

LEGEND = (
    "AdvTWER in %, with 95 % intervals; higher is harder to attack. **Bold**: highest in its row. "
    "↑ ↓: the paired difference to the {baseline} is above or below zero with its whole interval."
)

TRANSFER = (
    "Beside the model that the audio was made on, others seem hard to attack: that little of an "
    "attack carries over does not say that a model withstands one of its own."
)


def write_results(results: Entry, path: str | Path, figure: str) -> None:
    """Write RESULTS.md.

    Args:
        results: of `results.json`.
        path: the file.
        figure: name of the picture beside it.
    """
    write_text(path, render_results(results, figure))


def render_results(results: Entry, figure: str) -> str:
    """The text of RESULTS.md; arguments as for `write_results`."""
    sections = [
        "# Robustness of multi-task ASR",
        *sweep_cautions(results, baseline(results), results["conditions"]),
        _what_the_intervals_say(results),
        f"![AdvTWER against attack steps]({figure})",
        *table_sections(results),
        "## How it was made",
        _settings(results),
    ]
    return "\n\n".join(sections) + "\n"


def table_sections(results: Entry) -> list[str]:
    """All tables with their headings, the part of RESULTS.md that the page has as well."""
    return [
        "## Without attack",
        _benign(results),
        *_attack_sections(results),
        "## The attack itself",
        _sizes(results),
        *overlap_sections(results),
    ]


def baseline(results: Entry) -> Entry:
    """The condition that the others are compared with."""
    return next(
        c
        for c in results["conditions"]
        if [c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]] == results["baseline"]
        and c.get("variant", "") == results.get("baseline_variant", "")
    )


def several_seeds(results: Entry) -> bool:
    """Whether a condition is of models of several training seeds."""
    return any(len(c.get("training_seeds") or []) > 1 for c in results["conditions"])


def size(results: Entry) -> str:
    """How much was attacked, in words, e.g. "6 conditions (up to 5 training seeds), 100 ..."."""
    most = max(len(c.get("training_seeds") or []) for c in results["conditions"])
    seeds = f" (up to {most} training seeds)" if most > 1 else ""
    count = len(results["conditions"])
    return f"{count} conditions{seeds}, {results['attacked_utterances']} attacked utterances"


def _what_the_intervals_say(results: Entry) -> str:
    """A sentence for each budget and number of steps: how many conditions differ for sure."""
    others = [c for c in results["conditions"] if c is not baseline(results)]
    made_on = results.get("made_on")
    lines = [
        f"{size(results)}, {attack_name(results['attack'])} {attacker(made_on)}, compared with the "
        f"{baseline(results)['heads']} on the same utterances:",
        "",
        *([f"{TRANSFER}\n"] if made_on else []),
    ]
    for budget, step in attacked_settings(results):
        signs = [excludes_zero(attack_entry(c, budget, step)["difference"]) for c in others]
        lines.append(
            f"- {budget_name(budget)}, {step} steps: {signs.count(1)} harder to attack, "
            f"{signs.count(-1)} easier, {signs.count(0)} not distinguishable."
        )
    count = len(others) * len(attacked_settings(results))
    if count == 0:
        return lines[0]
    lines += [
        "",
        f"These are {count} comparisons by 95 % intervals; if no condition differed, "
        f"{by_chance(count)}.",
    ]
    return "\n".join(lines)


def attacked_settings(results: Entry) -> list[tuple[str, int]]:
    """Budgets and numbers of steps of a sweep, without the rows of no attack."""
    entries = results["conditions"][0]["attack"]
    return [(e["budget"], e["step"]) for e in entries if e["step"] > 0]


def _benign(results: Entry) -> str:
    found = results["conditions"][0]["benign"]
    metrics = [key for key in ("wer", "wer_difference", "cer") if key in found] + sorted(
        {k for c in results["conditions"] for k in c["benign"] if k.endswith("_accuracy")}
    )
    names = {"wer": "WER %", "wer_difference": "less the baseline's", "cer": "CER %"}
    header = ["model", "λ_A", "λ_C", "inference λ_C"]
    header += [names.get(key, f"{key.removesuffix('_accuracy')} accuracy %") for key in metrics]
    rows = [
        [
            c["heads"],
            f"{c['asr_weight']:g}",
            f"{c['ctc_weight']:g}",
            f"{c['inference_ctc_weight']:g}",
            *(_benign_cell(key, c["benign"].get(key)) for key in metrics),
        ]
        for c in results["conditions"]
    ]
    if several_seeds(results):
        header.insert(1, "seeds")
        for row, condition in zip(rows, results["conditions"], strict=True):
            row.insert(1, str(len(condition["training_seeds"] or [None])))
    count = results["conditions"][0]["benign"]["utterances"]
    note = (
        f"{count} test utterances. A poorly converged decoder misses the attacker's target as it "
        "misses the reference, and so looks robust: compare models of like WER only (↑ ↓: the "
        "paired difference to the baseline is above or below zero with its whole interval)."
    )
    return f"{note}\n\n{markdown_table(header, rows)}"


def _benign_cell(key: str, value: Sequence[float | None] | None) -> str:
    arrow = ARROWS[excludes_zero(value)] if value and key == "wer_difference" else ""
    return interval(value) + arrow


def _attack_sections(results: Entry) -> list[str]:
    def inference(c: Entry) -> str:
        return f"λ_C {c['ctc_weight']:g}, inference {c['inference_ctc_weight']:g}"

    papers = [c for c in results["conditions"] if not c.get("variant")]
    tables: list[tuple[str, Sequence[Entry], Callable[[Entry], str]]] = [
        ("Table 1: CTC and decoder (λ_A = 1)", table_1(papers), inference),
        (
            "Table 2: decoder and classifier (λ_C = 0)",
            table_2(papers),
            lambda c: f"λ_A {c['asr_weight']:g}",
        ),
        (
            "Table 3: all heads, decoder alone at inference",
            table_3(papers),
            weights,
        ),
    ]
    tables = [table for table in tables if len(table[1]) > 1]
    shown = [id(c) for _, conditions, _ in tables for c in conditions]
    others = [c for c in results["conditions"] if id(c) not in shown]
    if others:
        tables.append(("Other conditions", others, weights))
    legend = LEGEND.format(baseline=baseline(results)["heads"])
    sections = []
    for budget in dict.fromkeys(budget for budget, _ in attacked_settings(results)):
        sections += [f"## Under attack, {budget_name(budget)}", legend]
        for title, conditions, column in tables:
            sections += [f"### {title}", adv_twer_table(conditions, column, budget)]
        sections += ["### Differences to the baseline", _differences(results, budget)]
    return sections


def _differences(results: Entry, budget: str) -> str:
    steps = [step for tag, step in attacked_settings(results) if tag == budget]
    rows = [
        [
            f"{c['heads']} ({weights(c)})",
            *(interval(attack_entry(c, budget, step)["difference"]) for step in steps),
        ]
        for c in results["conditions"]
        if c is not baseline(results)
    ]
    return markdown_table(["AdvTWER less that of the baseline", *map(str, steps)], rows)


def _sizes(results: Entry) -> str:
    """What the attack did to the baseline: success, loudness, loss."""
    header = ["baseline", "success %", "median SNR dB", "lowest SNR dB", "median L2", "mean loss"]
    rows = []
    for budget, step in attacked_settings(results):
        entry = attack_entry(baseline(results), budget, step)
        rows.append(
            [
                f"{budget_name(budget)}, {step} steps",
                interval(entry["success_rate"]),
                _decibel(entry["snr_median"]),
                _decibel(entry["snr_min"]),
                f"{entry['l2_median']:.3f}",
                "-" if entry["loss_mean"] is None else f"{entry['loss_mean']:.2f}",
            ]
        )
    return markdown_table(header, rows)


def _decibel(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _settings(results: Entry) -> str:
    definitions = "\n".join(f"- `{k}`: {v}" for k, v in results["definitions"].items())
    environment = json.dumps(results["environment"], indent=2)
    attack = json.dumps(results["attack"], indent=2)
    commits = ", ".join(results.get("attack_commits") or [])
    attacked = f"Attack, by the code of commit {commits}:" if commits else "Attack:"
    return (
        f"Definitions:\n\n{definitions}\n\n{attacked}\n\n```json\n{attack}\n```\n\n"
        f"Environment:\n\n```json\n{environment}\n```"
    )
