"""The one pivot, and what the data sets have in common."""

from pathlib import Path

import pytest

from espnet_ext.data.files import write_json
from espnet_ext.data.overlap import Overlap, record
from espnet_ext.report.reports import read_overlap
from espnet_ext.report.tables import markdown_table, overlap_sections, pivot


def test_a_markdown_table_has_its_numbers_to_the_right():
    table = markdown_table(["a", "b", "c"], [["x", "1", "2"], ["y", "3", "4"]])
    lines = ["| a | b | c |", "|:--|--:|--:|", "| x | 1 | 2 |", "| y | 3 | 4 |"]
    assert table.splitlines() == lines


def test_a_pivot_keeps_the_order_of_its_cells_and_says_what_is_missing():
    cells = [(["b", "1"], "y", "1"), (["a", "2"], "x", "2"), (["b", "1"], "x", "3")]
    rows = pivot(["name", "seeds"], cells).splitlines()
    assert rows[0] == "| name | seeds | y | x |"
    assert rows[2:] == ["| b | 1 | 1 | 3 |", "| a | 2 | missing | 2 |"]
    assert pivot(["name", "seeds"], cells, ["x", "y"]).startswith("| name | seeds | x | y |")


@pytest.mark.parametrize(("shared", "warned"), [([], False), ([("a", "x")], True)])
def test_what_stage_2_kept_is_on_the_page(tmp_path: Path, shared, warned):
    found = Overlap("dump/train", "dump/test", ["u"], ["s", "t"], shared)
    write_json(tmp_path / "overlap.json", record([found], True))
    text = "\n".join(overlap_sections(read_overlap(tmp_path / "overlap.json")["overlap"]))
    assert f"| dump/train and dump/test | 1 | 2 | {len(shared)} |" in text
    assert ("too good" in text) == warned


def test_results_without_a_comparison_say_nothing(tmp_path):
    assert read_overlap(None) == read_overlap(tmp_path / "none.json") == {}
    assert overlap_sections(None) == []
