"""tools/comparison.csv: every verdict has its place, and ours are there."""

import csv
import re

import pytest
from recipes.recipe import ROOT


def read(name):
    with (ROOT / "tools" / name).open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, strict=True))


ROWS, TOOLS = read("comparison.csv"), {row["tool"]: row for row in read("comparison_tools.csv")}
OURS = [row for row in ROWS if row["tool"] == "espnet_ext"]


def test_every_verdict_says_where_it_was_seen():
    assert all(row["verdict"] in ("yes", "no") and row["where"].strip() for row in ROWS)
    keys = [(row["ability"], row["tool"]) for row in ROWS]
    assert len(set(keys)) == len(keys)
    assert {row["tool"] for row in ROWS} == set(TOOLS) == {
        "espnet_ext", "ART", "robust_speech", "s3prl", "ESPnet", "WeDefense",
    }  # fmt: skip


def test_every_row_is_about_this_project_too():
    assert {row["ability"] for row in ROWS} == {row["ability"] for row in OURS}


@pytest.mark.parametrize(
    "row", [r for r in OURS if r["verdict"] == "yes"], ids=lambda r: r["ability"]
)
def test_what_we_claim_names_a_test_or_command_that_is_there(row):
    path, _, test = row["where"].split(" ")[0].partition("::")
    assert re.match(r"tests/.*test_\w+\.py|espnet_ext/bin/\w+\.py|egs2/.*\.sh", path)
    text = (ROOT / path).read_text()
    assert not test or f"def {test}(" in text


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r["tool"] in ("robust_speech", "s3prl", "WeDefense")],
    ids=lambda r: f"{r['tool']}: {r['ability']}",
)  # fmt: skip
def test_what_is_claimed_of_repositories_names_the_commit(row):
    if row["verdict"] == "yes":
        assert re.search(r"\.(py|sh) at [0-9a-f]{8}|\.py at [0-9a-f]{8}", row["where"])
