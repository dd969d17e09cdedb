"""What the data sets of a result have in common, for its pages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_ext.data.files import read_json
from espnet_ext.report.tables import markdown_table


def read_overlap(path: str | Path | None) -> dict[str, Any]:
    """The comparison that stage 2 has kept, under "overlap"; empty where there is none.

    Raises:
        InputError: the file is not JSON.
    """
    if path is None or not Path(path).is_file():
        return {}
    return {"overlap": read_json(path)}


def overlap_sections(results: Mapping[str, Any]) -> list[str]:
    """Heading and table of what each pair of sets shares; empty for results without it."""
    if "overlap" not in results:
        return []
    pairs = results["overlap"]["pairs"]
    rows = [
        [" and ".join(pair["sets"]), *(str(pair[k]) for k in ("utterances", "speakers", "audio"))]
        for pair in pairs
    ]
    table = markdown_table(["sets", "utterance ids", "speakers", "audio files"], rows)
    return ["## What the sets have in common", *_warnings(results["overlap"]), table]


def _warnings(overlap: Mapping[str, Any]) -> list[str]:
    if not any(pair["audio"] for pair in overlap["pairs"]):
        return []
    return [
        "**Some audio is in two sets**: where a model was trained on what it is tested on, or its "
        "epoch or threshold was chosen there, its results are too good."
    ]
