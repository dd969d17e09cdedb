"""RESULTS.md of a directory whose results.json and pictures are kept."""

from pathlib import Path
from typing import Any

from espnet_ext.data.files import read_json
from espnet_ext.errors import InputError
from espnet_ext.report import countermeasure_markdown, markdown
from espnet_ext.report.countermeasure_figures import captions
from espnet_ext.report.countermeasure_records import Results
from espnet_ext.report.reconstruction import render_reconstruction
from espnet_ext.report.records import check


def render(folder: str | Path) -> str:
    """What RESULTS.md says, from `results.json` and the names of the pictures beside it.

    Args:
        folder: output directory of `asr_report`, `cm_report` or `ssl_evaluate`, or a copy of it
            with fewer pictures.

    Raises:
        InputError: no `results.json` there, or one of another command.
    """
    folder = Path(folder)
    results: Any = read_json(folder / "results.json")
    pictures = sorted(path.name for path in folder.glob("*.png"))
    if "conditions" in results:
        return markdown.render_results(results, "figure1.png")
    if "cells" in results:
        found = check(results, Results, f"{folder}/results.json")
        shown = {name: text for name, text in captions(found).items() if name in pictures}
        return countermeasure_markdown.render_results(found, shown)
    if "predictors" in results:
        return render_reconstruction(results, pictures)
    raise InputError(
        f"{folder}/results.json is of no known report: it has neither conditions (asr_report), "
        "cells (cm_report) nor predictors (ssl_evaluate)"
    )
