"""RESULTS.md of the countermeasure half, made from results.json and nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path

from espnet_ext.data.files import write_text
from espnet_ext.report.countermeasure_findings import findings
from espnet_ext.report.countermeasure_tables import (
    Entry,
    beyond_noise_table,
    classes_table,
    clean_cost_table,
    clean_table,
    comparison_table,
    eps_table,
    harm_table,
    kinds_table,
    lnsr_table,
    method_name,
    probe_table,
)
from espnet_ext.report.overlap import overlap_sections

TRANSFER_LEGEND = (
    "Points of balanced accuracy lost beyond those lost under random signs of the same ε, paired, "
    "with 95 % intervals. ↑: the attack harms more than noise of its size with the whole interval, "
    "↓: less."
)


def write_results(results: Entry, path: str | Path, figures: Mapping[str, str]) -> None:
    """Write RESULTS.md.

    Args:
        results: of `results.json`.
        path: the file.
        figures: captions of the pictures beside it, by name.
    """
    write_text(path, render_results(results, figures))


def render_results(results: Entry, figures: Mapping[str, str]) -> str:
    """The text of RESULTS.md; arguments as for `write_results`."""
    sections = [
        "# Countermeasures under attack",
        about(results),
        *_missing(results),
        "## What the intervals say",
        "\n".join(f"- {line}" for line in findings(results)),
        *(f"![{caption}]({name})\n\n{caption}" for name, caption in figures.items()),
        *table_sections(results),
        "## How it was made",
        _settings(results),
    ]
    return "\n\n".join(sections) + "\n"


def table_sections(results: Entry) -> list[str]:
    """All tables with their headings, the part of RESULTS.md that the page has as well."""
    return [
        "## Without attack",
        clean_table(results),
        *_titled("### What a defence costs", clean_cost_table(results)),
        *_kinds(results),
        *_attack_sections(results),
        *_lnsr(results),
        *_titled("## Linear probe by layer", probe_table(results)),
        *overlap_sections(results),
    ]


def about(results: Entry) -> str:
    """What was scored and attacked, in one paragraph."""
    evaluation, attacked = results["trials"]["evaluation"], results["trials"]["attacked"]
    all_spoof = 100.0 * attacked["spoof"] / (attacked["spoof"] + attacked["bonafide"])
    return (
        f"{len(results['models'])} countermeasures, training seeds "
        f"{', '.join(map(str, results['seeds']))}; evaluation set of {_trials(evaluation)}; "
        f"attacked: {_trials(attacked) if results['cells'] else 'none'}. Answers are taken at the "
        "threshold of the clean development set. Always answering 'spoof' has "
        f"{all_spoof:.1f} % plain and 50 % balanced accuracy."
    )


def _trials(counts: Entry) -> str:
    return (
        f"{counts['bonafide']} bona fide and {counts['spoof']} spoof trials of "
        f"{counts['speakers']} speakers"
    )


def _missing(results: Entry) -> list[str]:
    if not results["missing"]:
        return []
    return ["## What is missing", "\n".join(f"- {line}" for line in results["missing"])]


def _titled(title: str, table: str | None) -> list[str]:
    return [] if table is None else [title, table]


def _kinds(results: Entry) -> list[str]:
    sections = []
    for architecture in dict.fromkeys(m["architecture"] for m in results["models"]):
        table = kinds_table(results, architecture)
        sections += _titled(f"### EER by kind of spoof, {architecture}", table)
    return sections


def _attack_sections(results: Entry) -> list[str]:
    """A section a source and method; random signs have no table of their own excess."""
    sections = []
    for source in dict.fromkeys(cell["source"] for cell in results["cells"]):
        sections += [f"## Attacks from {source}"]
        sections += _titled("### Size of ε", eps_table(results, source))
        cells = [cell for cell in results["cells"] if cell["source"] == source]
        for method in dict.fromkeys(cell["method"] for cell in cells):
            sections += _method_section(results, source, method)
    return sections


def _method_section(results: Entry, source: str, method: str) -> list[str]:
    sections = [f"### {method_name(method)} from {source}"]
    if method != "noise":
        sections += [TRANSFER_LEGEND, beyond_noise_table(results, source, method)]
    sections += [classes_table(results, source, method), harm_table(results, source, method)]
    comparison = comparison_table(results, source, method)
    return [*sections, *([comparison] if comparison else [])]


def _lnsr(results: Entry) -> list[str]:
    sections = []
    for norm in ("frobenius", "spectral"):
        for centred in (False, True):
            title = f"### {norm.capitalize()} norm{', centred' if centred else ''}"
            sections += _titled(title, lnsr_table(results, norm, centred))
    return ["## Layerwise noise-to-signal ratio", *sections] if sections else []


def _settings(results: Entry) -> str:
    definitions = "\n".join(f"- `{k}`: {v}" for k, v in results["definitions"].items())
    attack = json.dumps(results["attack"], indent=2)
    environment = json.dumps(results["environment"], indent=2)
    return (
        f"Definitions:\n\n{definitions}\n\nAttack:\n\n```json\n{attack}\n```\n\n"
        f"Environment:\n\n```json\n{environment}\n```"
    )
