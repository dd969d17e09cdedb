"""The report says what the sets have in common."""

from pathlib import Path

import pytest

from espnet_ext.data.files import write_json
from espnet_ext.data.overlap import Overlap, record
from espnet_ext.report.overlap import overlap_sections, read_overlap


@pytest.mark.parametrize(("shared", "warned"), [([], False), ([("a", "x")], True)])
def test_what_stage_2_kept_is_on_the_page(tmp_path: Path, shared, warned):
    found = Overlap("dump/train", "dump/test", ["u"], ["s", "t"], shared)
    write_json(tmp_path / "overlap.json", record([found], True))
    text = "\n".join(overlap_sections(read_overlap(tmp_path / "overlap.json")))
    assert f"| dump/train and dump/test | 1 | 2 | {len(shared)} |" in text
    assert ("too good" in text) == warned


def test_results_without_a_comparison_say_nothing(tmp_path):
    assert read_overlap(None) == read_overlap(tmp_path / "none.json") == {}
    assert overlap_sections({}) == []
