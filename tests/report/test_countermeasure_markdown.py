import re

import pytest
from countermeasure_run import lnsr, results_of, write_clean, write_run

from espnet_ext.report.countermeasure_findings import findings
from espnet_ext.report.countermeasure_markdown import write_results


@pytest.fixture
def results(tmp_path):
    write_run(tmp_path)
    probe = {"model": "random", "layer": "input", "dev_eer": 0.25, "eval_eer": 0.5}
    return results_of(tmp_path, lnsr={0: lnsr()}, probe={0: {"rows": [probe]}})


@pytest.fixture
def report(tmp_path):
    def report(results: dict, figures: dict | None = None) -> dict[str, str]:
        write_results(results, tmp_path / "RESULTS.md", figures or {})
        parts = ("\n" + (tmp_path / "RESULTS.md").read_text()).split("\n#")[1:]
        return {p.split("\n", 1)[0].lstrip("# "): p.split("\n", 1)[1].strip() for p in parts}

    return report


def test_the_report_says_what_it_is_of(results, report):
    text = report(results)["Countermeasures under attack"]
    assert text.startswith("3 countermeasures, training seeds 0, 1; evaluation set of 4 bona fide")
    assert "4 bona fide and 6 spoof trials of 4 speakers" in text
    assert "Always answering 'spoof' has 60.0 % plain and 50 % balanced accuracy" in text


def test_what_is_missing_is_listed(results, report):
    lines = report(results)["What is missing"].splitlines()
    assert lines == [f"- {line}" for line in results["missing"]] and len(lines) == 2


def test_a_whole_run_has_no_such_section(results, report):
    results["missing"] = []
    assert "What is missing" not in report(results)


def test_sentences_are_those_of_the_findings(results, report):
    text = report(results)["What the intervals say"]
    assert text.splitlines() == [f"- {line}" for line in findings(results)]


def test_pictures_are_linked_with_their_captions(results, report):
    text = report(results, {"a.png": "First.", "b.png": "Second."})["What the intervals say"]
    assert "![First.](a.png)\n\nFirst.\n\n![Second.](b.png)\n\nSecond." in text


def test_every_source_and_method_has_its_section(results, report):
    found = report(results)
    for name in ("PGD", "FGSM", "random signs"):
        assert f"{name} from senet_mel" in found
    assert "Attacks from senet_mel" in found and "Attacks from lcnn_mel" not in found
    assert "| 0.1 | 1.5 |" in found["Size of ε"]


def test_random_signs_are_not_compared_with_themselves(results, report):
    found = report(results)
    assert "beyond random signs" not in found["random signs from senet_mel"]
    assert found["PGD from senet_mel"].count("|:--|") == 4


def test_layers_and_probe_have_their_tables(results, report):
    found = report(results)
    assert "| random, input | 25.0 | 50.0 |" in found["Linear probe by layer"]
    assert "Frobenius norm" in found and "Spectral norm" in found
    assert "Frobenius norm, centred" not in found


def test_what_is_not_there_has_no_section(tmp_path, report):
    write_clean(tmp_path, "lcnn_mel", 0)
    found = report(results_of(tmp_path, seeds=[0]))
    assert not [title for title in found if "Attack" in title or "LNSR" in title]
    assert "attacked: none." in found["Countermeasures under attack"]
    assert "EER by kind of spoof, lcnn" in found and "EER by kind of spoof, senet" not in found
    assert "Linear probe by layer" not in found


def test_definitions_are_shown_and_no_json(results, report):
    text = report(results)["How it was made"]
    for name, definition in results["definitions"].items():
        assert f"- `{name}`: {definition}" in text
    assert "(results.json)" in text and "{" not in text


def numbers(value) -> set[str]:
    """All numbers of results.json, as a table may print them."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(numbers, value)) if value else set()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return set()
    return {f"{value:.{digits}f}" for digits in (1, 3)} | {f"{value:g}", f"{value:.3g}"}


def test_every_number_of_the_tables_stands_in_the_results(results, report):
    known = numbers(results)
    for title, text in report(results).items():
        for line in text.splitlines():
            if line.startswith("|") and not line.startswith("|:"):
                cells = re.sub(r"[A-Za-z_][\w]*", "", line.split("|", 2)[2])
                for number in re.findall(r"-?\d+\.\d+", cells):
                    assert number in known, (title, line)
