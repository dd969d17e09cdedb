"""What the page shows of the countermeasure half."""

import json
import tempfile

from espnet_ext.data.ids import file_of
from espnet_ext.report.countermeasure_figures import draw_all
from espnet_ext.report.countermeasure_findings import findings, verdict
from espnet_ext.report.countermeasure_markdown import about, table_sections
from espnet_ext.report.countermeasure_records import Results
from espnet_ext.report.experiments import Experiment
from espnet_ext.report.page_parts import Figure, Section, environment_rows, folds, png
from espnet_ext.report.records import check

NO_AUDIO = (
    "A report of countermeasures keeps scores and no audio, and attacks on features make none: "
    "there is nothing to hear here."
)
ALTS = {
    "figure2": "Curves of balanced accuracy against ε, a panel an attack",
    "figure2_plain": "Curves of plain accuracy against ε, a panel an attack",
    "transfer": "Heat maps of balanced accuracy, source by target",
    "histograms": "Histograms of scores before and under attack",
    "figure3": "Curves of the layerwise noise-to-signal ratio",
}


def countermeasure_section(experiment: Experiment) -> Section:
    """Of the results of `cm_report`."""
    results = check(experiment.results, Results, f"{experiment.directory}/results.json")
    what_they_say = ["## What the intervals say", "\n".join(f"- {s}" for s in findings(results))]
    return Section(
        title=f"Countermeasures: {experiment.name}",
        about=about(results),
        verdict=verdict(results),
        notes=[*results["missing"], NO_AUDIO],
        figures=_figures(results),
        tables=folds([*table_sections(results), *what_they_say], opened=1),
        samples=[],
        definitions=results["definitions"],
        # Statistics of features stay in results.json.
        settings=json.dumps({k: v["settings"] for k, v in results["attack"].items()}, indent=2),
        environment=environment_rows(results["environment"]),
    )


def _figures(results: Results) -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        return [
            png(file_of(directory, name), _alt(name), caption)
            for name, caption in draw_all(results, directory).items()
        ]


def _alt(name: str) -> str:
    stem = name.removesuffix(".png")
    return ALTS.get(stem) or ALTS[stem.split("_")[0]]
