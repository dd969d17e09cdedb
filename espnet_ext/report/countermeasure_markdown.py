"""RESULTS.md of the countermeasure half, made from results.json and nothing else."""

from collections.abc import Mapping
from pathlib import Path

from espnet_ext.data.files import write_text
from espnet_ext.report.countermeasure_findings import findings
from espnet_ext.report.countermeasure_records import NOISE, Counts, Results
from espnet_ext.report.countermeasure_tables import (
    attack_tables,
    clean_cost_table,
    clean_table,
    eps_table,
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


def write_results(results: Results, path: str | Path, figures: Mapping[str, str]) -> None:
    """Write RESULTS.md.

    Args:
        results: of `results.json`.
        path: the file.
        figures: captions of the pictures beside it, by name.
    """
    write_text(path, render_results(results, figures))


def render_results(results: Results, figures: Mapping[str, str]) -> str:
    """The text of RESULTS.md; arguments as for `write_results`."""
    missing = "\n".join(f"- {line}" for line in results["missing"])
    definitions = "\n".join(f"- `{k}`: {v}" for k, v in results["definitions"].items())
    sections = [
        "# Countermeasures under attack",
        about(results),
        *_titled("## What is missing", missing),
        "## What the intervals say",
        "\n".join(f"- {line}" for line in findings(results)),
        *(f"![{caption}]({name})\n\n{caption}" for name, caption in figures.items()),
        *table_sections(results),
        "## How it was made",
        "Settings of the attack, environment, command and every number: "
        "[results.json](results.json).",
        f"Definitions:\n\n{definitions}",
    ]
    return "\n\n".join(sections) + "\n"


def about(results: Results) -> str:
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


def _trials(counts: Counts) -> str:
    return (
        f"{counts['bonafide']} bona fide and {counts['spoof']} spoof trials of "
        f"{counts['speakers']} speakers"
    )


def _titled(title: str, text: str | None) -> list[str]:
    return [title, text] if text else []


def table_sections(results: Results) -> list[str]:
    """All tables with their headings, the part of RESULTS.md that the page has as well."""
    sections = ["## Without attack", clean_table(results)]
    sections += _titled("### What a defence costs", clean_cost_table(results))
    for architecture in dict.fromkeys(model["architecture"] for model in results["models"]):
        title = f"### EER by kind of spoof, {architecture}"
        sections += _titled(title, kinds_table(results, architecture))
    attacks = dict.fromkeys((cell["source"], cell["method"]) for cell in results["cells"])
    for source in dict.fromkeys(source for source, _ in attacks):
        sections += [f"## Attacks from {source}"]
        sections += _titled("### Size of ε", eps_table(results, source))
        for method in (method for other, method in attacks if other == source):
            sections += [f"### {method_name(method)} from {source}"]
            sections += [TRANSFER_LEGEND] if method != NOISE else []
            sections += attack_tables(results, source, method).values()
    layers = []
    for norm in ("frobenius", "spectral"):
        for centred in (False, True):
            title = f"### {norm.capitalize()} norm{', centred' if centred else ''}"
            layers += _titled(title, lnsr_table(results, norm, centred))
    sections += ["## Layerwise noise-to-signal ratio", *layers] if layers else []
    sections += _titled("## Linear probe by layer", probe_table(results))
    return [*sections, *overlap_sections(results)]
