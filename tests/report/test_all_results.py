import csv

import pytest

from espnet_ext.data.files import read_json, write_json
from espnet_ext.report.all_results import results_csv, results_page, rows_of
from espnet_ext.report.reports import read_report

pytestmark = pytest.mark.one_python


def rows(directory):
    return list(rows_of("c/t/results/one", read_report(directory)))


def test_of_each_budget_the_strongest_attack_is_shown(sweep):
    report = read_report(sweep)
    found = rows(sweep)
    assert len(found) == len(report.results["conditions"])  # of one budget each
    for row, condition in zip(found, report.results["conditions"], strict=True):
        successes = [entry["success_rate"][0] for entry in condition["attack"] if entry["step"]]
        assert row.metrics("attacked")["success_rate"]["value"] == max(successes)


def test_an_attacker_with_the_model_has_a_row_beside_one_without(countermeasures):
    found = rows(countermeasures)
    kinds = {
        (r.card["model"]["name"], r.attack["budget"]["value"], r.attack["access"]) for r in found
    }
    assert len(kinds) == len(found)
    assert {access for *_, access in kinds} == {"white box", "transfer"}


def test_a_model_that_was_not_attacked_is_shown(sweep):
    results = read_json(sweep / "results.json")
    for condition in results["conditions"]:
        condition["attack"] = condition["attack"][:1]
    write_json(sweep / "results.json", results)
    assert {row.attack for row in rows(sweep)} == {None}
    assert "| - | none |" in results_page(rows(sweep))


def test_a_transfer_says_where_it_was_made(sweep):
    results = read_json(sweep / "results.json")
    results["made_on"] = {"model": {"config": {"path": "exp/ctc/config.yaml"}}, "ctc_weight": 1.0}
    write_json(sweep / "results.json", results)
    assert all(row.attack["source"] == "ctc" for row in rows(sweep))
    assert "made on ctc" in results_page(rows(sweep))


def test_page_and_csv_have_the_same_rows(sweep, countermeasures):
    found = rows(sweep) + rows(countermeasures)
    page = results_page(found)
    records = list(csv.DictReader(results_csv(found).splitlines()))
    assert page.count("](c/t/results/one/RESULTS.md)") == len(records) == len(found)
    for record, row in zip(records, found, strict=True):
        wer = row.card["clean"]["metrics"].get("wer")
        assert record["clean_wer"] == ("" if wer is None else f"{wer['value']:.4g}")
