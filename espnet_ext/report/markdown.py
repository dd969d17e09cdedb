"""RESULTS.md, made from results.json and nothing else."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from espnet_ext.data.files import write_text
from espnet_ext.report.findings import by_setting, sentence, sweep_cautions
from espnet_ext.report.overlap import overlap_sections
from espnet_ext.report.results import ConditionResult, SweepResults
from espnet_ext.report.tables import (
    adv_twer_table,
    arrow,
    attack_entry,
    attack_name,
    attacked_settings,
    attacker,
    baseline,
    budget_name,
    by_chance,
    interval,
    markdown_table,
    setting_name,
    several_methods,
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


def write_results(results: SweepResults, path: str | Path, figure: str) -> None:
    """Write RESULTS.md.

    Args:
        results: of `results.json`.
        path: the file.
        figure: name of the picture beside it.
    """
    write_text(path, render_results(results, figure))


def render_results(results: SweepResults, figure: str) -> str:
    """The text of RESULTS.md; arguments as for `write_results`."""
    cautions = sweep_cautions(results, baseline(results), results["conditions"])
    commits = ", ".join(results.get("attack_commits") or [])
    sections = [
        "# Robustness of multi-task ASR",
        *map(sentence, cautions),
        _what_the_intervals_say(results),
        f"![AdvTWER against attack steps]({figure})",
        *table_sections(results),
        "## How it was made",
        *([f"Attacked by the code of commit {commits}."] if commits else []),
        "Settings of the attack, environment, command and every number: "
        "[results.json](results.json).",
        "Definitions:",
        "\n".join(f"- `{k}`: {v}" for k, v in results["definitions"].items()),
    ]
    return "\n\n".join(sections) + "\n"


def table_sections(results: SweepResults) -> list[str]:
    """All tables with their headings, the part of RESULTS.md that the page has as well."""
    return [
        "## Without attack",
        _benign(results),
        *_attack_sections(results),
        "## The attack itself",
        _sizes(results),
        *overlap_sections(results),
    ]


def size(results: SweepResults) -> str:
    """How much was attacked, in words, e.g. "6 conditions (up to 5 training seeds), 100 ..."."""
    most = max(len(c.get("training_seeds") or []) for c in results["conditions"])
    seeds = f" (up to {most} training seeds)" if most > 1 else ""
    count = len(results["conditions"])
    return f"{count} conditions{seeds}, {results['attacked_utterances']} attacked utterances"


def _what_the_intervals_say(results: SweepResults) -> str:
    """A sentence for each budget and number of steps: how many conditions differ for sure."""
    settings = list(by_setting(results))
    made_on = results.get("made_on")
    lines = [
        f"{size(results)}, {attack_name(results['attack'])} {attacker(made_on)}, compared with the "
        f"{baseline(results)['heads']} on the same utterances:",
        "",
        *([f"{TRANSFER}\n"] if made_on else []),
        *(f"- {sentence(finding)}" for finding in settings),
    ]
    count = len(settings) * (len(results["conditions"]) - 1)
    if count == 0:
        return lines[0]
    lines += [
        "",
        f"These are {count} comparisons by 95 % intervals; if no condition differed, "
        f"{by_chance(count)}.",
    ]
    return "\n".join(lines)


def _benign(results: SweepResults) -> str:
    conditions = results["conditions"]
    benign: list[dict[str, Any]] = [{**c["benign"]} for c in conditions]
    metrics = [key for key in ("wer", "wer_difference", "cer") if key in benign[0]] + sorted(
        {key for found in benign for key in found if key.endswith("_accuracy")}
    )
    names = {"wer": "WER %", "wer_difference": "less the baseline's", "cer": "CER %"}
    several = any(len(c.get("training_seeds") or []) > 1 for c in conditions)
    header = ["model", *(["seeds"] if several else []), "λ_A", "λ_C", "inference λ_C"]
    header += [names.get(key, f"{key.removesuffix('_accuracy')} accuracy %") for key in metrics]
    rows = []
    for condition, found in zip(conditions, benign, strict=True):
        seeds = [str(len(condition["training_seeds"] or [None]))] if several else []
        keys = ("asr_weight", "ctc_weight", "inference_ctc_weight")
        lambdas = [f"{value:g}" for value in map(dict(condition).get, keys)]
        cells = [interval(found.get(key)) for key in metrics]
        if "wer_difference" in metrics:
            cells[metrics.index("wer_difference")] += arrow(found.get("wer_difference"))
        rows.append([condition["heads"], *seeds, *lambdas, *cells])
    note = (
        f"{benign[0]['utterances']} test utterances. A poorly converged decoder misses the "
        "attacker's target as it misses the reference, and so looks robust: compare models of like "
        "WER only (↑ ↓: the paired difference to the baseline is above or below zero with its "
        "whole interval)."
    )
    return f"{note}\n\n{markdown_table(header, rows)}"


def _attack_sections(results: SweepResults) -> list[str]:
    def _inference(c: ConditionResult) -> str:
        return f"λ_C {c['ctc_weight']:g}, inference {c['inference_ctc_weight']:g}"

    papers = [c for c in results["conditions"] if not c.get("variant")]
    tables: list[tuple[str, Sequence[ConditionResult], Callable[[ConditionResult], str]]] = [
        ("Table 1: CTC and decoder (λ_A = 1)", table_1(papers), _inference),
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
    for budget in dict.fromkeys(entry["budget"] for entry in attacked_settings(results)):
        sections += [f"## Under attack, {budget_name(budget)}", legend]
        for title, conditions, column in tables:
            sections += [f"### {title}", adv_twer_table(conditions, column, budget)]
        sections += ["### Differences to the baseline", _differences(results, budget)]
    return sections


def _differences(results: SweepResults, budget: str) -> str:
    settings = [e for e in attacked_settings(results, noise=True) if e["budget"] == budget]
    named = several_methods(settings)
    rows = [
        [
            f"{c['heads']} ({weights(c)})",
            *(interval(attack_entry(c, entry)["difference"]) for entry in settings),
        ]
        for c in results["conditions"]
        if c is not baseline(results)
    ]
    header = [f"{e['method']} {e['step']}" if named else str(e["step"]) for e in settings]
    return markdown_table(["AdvTWER less that of the baseline", *header], rows)


def _sizes(results: SweepResults) -> str:
    """What the attack did to the baseline: success, loudness, loss."""
    header = ["baseline", "success %", "median SNR dB", "lowest SNR dB", "median L2", "mean loss"]
    rows = []
    for setting in attacked_settings(results, noise=True):
        entry = attack_entry(baseline(results), setting)
        decibels = (entry["snr_median"], entry["snr_min"])
        rows.append(
            [
                setting_name(entry),
                interval(entry["success_rate"]),
                *("-" if value is None else f"{value:.1f}" for value in decibels),
                f"{entry['l2_median']:.3f}",
                "-" if entry["loss_mean"] is None else f"{entry['loss_mean']:.2f}",
            ]
        )
    return markdown_table(header, rows)
