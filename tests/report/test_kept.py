import shutil
from pathlib import Path

import pytest

from espnet_ext.data.files import read_json, write_json
from espnet_ext.report.countermeasure_figures import captions
from espnet_ext.report.kept import render
from espnet_ext.report.markdown import write_results

EGS2 = Path(__file__).parents[2] / "egs2"
FSDD, MOCKINGJAY = EGS2 / "fsdd/mtl_asr1/results/seed0", EGS2 / "librispeech/ssl1/results/small"


@pytest.mark.parametrize("folder", sorted(EGS2.glob("*/*/results/**/results.json")), ids=str)
def test_kept_reports_are_what_their_results_make(folder):
    text = (folder.parent / "RESULTS.md").read_text()
    assert render(folder.parent) == text
    for picture in [part.split(")")[0] for part in text.split("](")[1:]]:
        assert (folder.parent / picture).exists(), picture


def test_it_is_what_the_command_writes(tmp_path):
    results = read_json(FSDD / "results.json")
    write_json(tmp_path / "results.json", results)
    write_results(results, tmp_path / "RESULTS.md", "figure1.png")
    assert render(tmp_path) == (tmp_path / "RESULTS.md").read_text()


def test_pictures_that_were_not_kept_are_not_linked(tmp_path):
    shutil.copy(MOCKINGJAY / "results.json", tmp_path)
    assert "![" not in render(tmp_path)
    (tmp_path / "a.png").touch()
    assert "![a.png](a.png)" in render(tmp_path)


def test_captions_name_what_there_is_data_for():
    layout = {"heat_map": {"method": "pgd", "eps": 0.3}}
    results = {"layout": layout, "cells": [], "panels": [1], "histograms": [], "lnsr": []}
    assert captions(results) == {}
    found = captions({**results, "cells": [{"method": "pgd", "eps": 0.3}], "lnsr": [1]})
    assert list(found) == [
        "figure2.png",
        "figure2_plain.png",
        "transfer_pgd_0.3.png",
        "figure3.png",
    ]
