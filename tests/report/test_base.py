"""RESULTS.md of every kind is made of the same parts."""

import copy
import re
from pathlib import Path

import pytest
from attack_rows import constant
from countermeasure_run import lnsr, results_of, write_clean, write_run

from espnet_ext.report.base import render_results
from espnet_ext.report.countermeasure_report import CountermeasureReport
from espnet_ext.report.findings import sentence
from espnet_ext.report.recognition_report import SweepReport


def sections(text: str) -> dict[str, str]:
    """What stands below each heading."""
    parts = ("\n" + text).split("\n#")[1:]
    return {p.split("\n", 1)[0].lstrip("# "): p.split("\n", 1)[1].strip() for p in parts}


def of_sweep(results) -> dict[str, str]:
    return sections(render_results(SweepReport(Path("report"), results)))


def of_countermeasures(results, pictures=None) -> dict[str, str]:
    return sections(render_results(CountermeasureReport(Path("report"), results), pictures))


@pytest.fixture
def measured(tmp_path):
    write_run(tmp_path)
    probe = {"model": "random", "layer": "input", "dev_eer": 0.25, "eval_eer": 0.5}
    return results_of(tmp_path, lnsr={0: lnsr()}, probe={0: {"rows": [probe]}})


def test_a_sweep_says_first_what_was_done_and_what_is_certain(three, results):
    found = of_sweep(results(three))
    assert found["Robustness of multi-task ASR"].startswith(
        "3 conditions, 6 attacked utterances, targeted L2 PGD by an attacker who has the model, "
        "compared with the STL decoder on the same utterances"
    )
    report = SweepReport(Path("report"), results(three))
    said = [sentence(fact) for fact in (*report.verdict(), *report.facts())]
    text = found["What the intervals say"]
    assert text.split("\n\n")[0].splitlines() == [f"- {line}" for line in said]
    assert "](figure1.png)" in text and "](figure_snr.png)" in text


def test_a_transfer_says_whose_audio_it_is(three, results):
    made_on = {"model": {"config": {"path": "exp/ctc/config.yaml"}}, "ctc_weight": 1.0}
    text = of_sweep({**results(three), "made_on": made_on})["Robustness of multi-task ASR"]
    assert "with audio that was made on ctc (weight of CTC 1), compared with" in text
    assert "does not say that a model withstands one of its own" in text


def test_training_seeds_are_counted_where_there_are_several(add, results):
    runs = [add((1.0, 0.0, 0.0), constant(3, 2), seed=seed) for seed in (0, 1)]
    text = of_sweep(results(runs))["Robustness of multi-task ASR"]
    assert "(up to 2 training seeds), 6 attacked" in text


def test_definitions_are_shown_and_no_json(three, results, measured):
    for found, text in ((results(three), of_sweep), (measured, of_countermeasures)):
        section = text(found)["How it was made"]
        for name, definition in found["definitions"].items():
            assert f"- `{name}`: {definition}" in section
        assert "(results.json)" in section and "{" not in section


def test_rendering_changes_nothing_in_the_results(three, results, measured):
    for found, text in ((results(three), of_sweep), (measured, of_countermeasures)):
        before = copy.deepcopy(found)
        text(found)
        assert found == before


def test_countermeasures_say_what_they_are_of_and_what_is_missing(measured):
    found = of_countermeasures(measured)
    text = found["Countermeasures under attack"]
    assert text.startswith("3 countermeasures, training seeds 0, 1; evaluation set of 4 bona fide")
    assert "4 bona fide and 6 spoof trials of 4 speakers" in text
    assert "Always answering 'spoof' has 60.0 % plain and 50 % balanced accuracy" in text
    lines = found["What is missing"].splitlines()
    assert lines == [f"- {line}" for line in measured["missing"]] and len(lines) == 2
    measured["missing"] = []
    assert "What is missing" not in of_countermeasures(measured)


def test_pictures_that_are_there_are_linked_with_their_captions(measured):
    text = of_countermeasures(measured, {"figure3.png"})["What the intervals say"]
    (link,) = re.findall(r"!\[.*\]\(.*\)\n\n.*", text)
    assert "](figure3.png)" in link and "Figure 3 of the paper" in link
    assert "![" not in of_countermeasures(measured, set())["What the intervals say"]


def test_every_source_and_method_has_its_section(measured):
    found = of_countermeasures(measured)
    for name in ("PGD", "FGSM", "random signs"):
        assert f"{name} from senet_mel" in found
    assert "Attacks from senet_mel" in found and "Attacks from lcnn_mel" not in found
    assert "| 0.1 | 1.5 |" in found["Size of ε"]
    assert "beyond random signs" not in found["random signs from senet_mel"]
    assert found["PGD from senet_mel"].count("|:--|") == 4
    assert "Frobenius norm" in found and "Frobenius norm, centred" not in found


def test_what_is_not_there_has_no_section(tmp_path):
    write_clean(tmp_path, "lcnn_mel", 0)
    found = of_countermeasures(results_of(tmp_path, seeds=[0]))
    assert not [title for title in found if title.startswith("Attack") or "LNSR" in title]
    assert "attacked: none." in found["Countermeasures under attack"]
    assert "EER by kind of spoof, lcnn" in found and "EER by kind of spoof, senet" not in found
    assert "Linear probe by layer" not in found


def numbers(value) -> set[str]:
    """All numbers of results.json, as a table may print them."""
    if isinstance(value, dict):
        return set().union(*map(numbers, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(numbers, value)) if value else set()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return set()
    return {f"{value:.{digits}f}" for digits in (1, 3)} | {f"{value:g}", f"{value:.3g}"}


def test_every_number_of_the_tables_stands_in_the_results(measured):
    known = numbers(measured)
    for title, text in of_countermeasures(measured).items():
        for line in text.splitlines():
            if line.startswith("|") and not line.startswith("|:"):
                cells = re.sub(r"[A-Za-z_][\w]*", "", line.split("|", 2)[2])
                for number in re.findall(r"-?\d+\.\d+", cells):
                    assert number in known, (title, line)
