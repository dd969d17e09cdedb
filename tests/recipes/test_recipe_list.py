"""egs2/recipes.csv: every recipe, what it makes, and its numbers."""

import csv

import pytest
from recipes.recipe import ROOT
from recipes.test_pages import pages

from espnet_ext.data.files import read_json

EGS2 = ROOT / "egs2"
with (EGS2 / "recipes.csv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table))
NAMES = [row["recipe"] for row in ROWS]


def test_every_recipe_has_one_row():
    folders = [path.parent.relative_to(EGS2) for path in EGS2.glob("*/*/run.sh")]
    assert sorted(NAMES) == sorted(map(str, folders))


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_a_row_is_complete_and_its_recipe_is_there(row):
    folder = EGS2 / row["recipe"]
    for name in ("run.sh", "README.md", "local/data.sh", "conf"):
        assert (folder / name).exists()
    for column in ("corpus", "shows", "time", "command", "outputs", "published"):
        assert row[column].strip(), column
    assert "./run.sh" in row["command"]
    filled = [bool(row[name]) for name in ("metric", "metric_name", "low", "high")]
    assert all(filled) or not any(filled)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_kept_results_are_in_their_band(row):
    if not row["metric"].startswith("results/"):
        pytest.skip("its results are not kept in the repository")
    folder, address = row["metric"].split(": ")
    results = read_json(EGS2 / row["recipe"] / folder / "results.json")
    value = pages.addressed(results, address)[0]
    assert float(row["low"]) <= value <= float(row["high"])
