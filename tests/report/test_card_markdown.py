import pytest
from attack_rows import HOSTILE

from espnet_ext.report.card import card_markdown, text
from espnet_ext.report.page_parts import folds
from espnet_ext.report.reports import read_report


@pytest.fixture
def recognised(attacked):
    directory, _ = attacked(audio=False)
    return read_report(directory).cards()[0]


def test_a_recognizer_in_markdown(recognised):
    lines = card_markdown(recognised).splitlines()
    assert lines[0] == r"## Adversarial robustness of la1.0\_lc0.5\_seed0/attack\_li0.5"
    assert lines[4] == "speech recognition; weight of CTC at inference 0.5; training seed 3."
    assert "Without attack, 6 utterances:" in lines
    assert "| WER % | 400.0 (400.0 to 400.0) |" in lines
    row = next(line for line in lines if "| 10 |" in line)
    assert row == (
        "| targeted L2 PGD, white box | ε = 2 (full scale is 1) | 10 | 47.5 "
        "| 400.0 (400.0 to 400.0) | 20.0 (20.0 to 20.0) | 0.0 (0.0 to 0.0) |"
    )
    assert "- noise of the same size as the attack, as a control" in lines
    assert lines[-1] == r"Made by espnet\_ext, commit 0123456789ab, 2026-01-01; torch 2."


def test_a_countermeasure_in_markdown_has_its_control(countermeasures):
    cards = read_report(countermeasures).cards()
    lines = card_markdown(cards[0]).splitlines()
    assert "Under attack, 4 bona fide, 6 spoof trials, 4 speakers, with 95 % intervals:" in lines
    header = next(line for line in lines if line.startswith("| attack |"))
    assert header.endswith("| balanced accuracy % under random signs |")
    row = next(line for line in lines if line.startswith(r"| L∞ PGD, from senet\_mel | ε = 0.3 |"))
    assert row.endswith("| 100.0 (100.0 to 100.0) |") and row.count("|") == header.count("|")


def test_what_is_not_known_is_a_dash(recognised):
    first = recognised["attacks"][0]
    first |= {"steps": None, "snr_median_db": None}
    first["metrics"]["wer"] = {"value": None, "low": None, "high": None, "unit": "percent"}
    del first["metrics"]["success_rate"]
    recognised["commit"] = None
    found = card_markdown(recognised)
    assert "| - | - | - | 60.0 (60.0 to 60.0) | - |" in found
    assert "commit not recorded" in found


def test_tandem_costs_have_three_digits(countermeasures):
    (card, *_) = read_report(countermeasures).cards()
    value = {"value": 0.1234, "low": 0.1, "high": 0.2, "unit": "none"}
    card["clean"]["metrics"]["min_tdcf_2019"] = value
    assert "| min t-DCF (2019) | 0.123 (0.100 to 0.200) |" in card_markdown(card)


def test_text_of_others_is_no_markdown_and_no_html(recognised):
    recognised["model"] |= {"name": HOSTILE, "description": f"{HOSTILE}\n\n# heading"}
    found = card_markdown(recognised)
    assert "<script" not in found and "\n# heading" not in found
    (fold,) = folds(["## One", found.split("\n", 1)[1]])
    assert "<script" not in fold.html and fold.html.count("<tr>") == 2 + 3


@pytest.mark.parametrize(
    ("given", "wanted"), [("a_b*c", r"a\_b\*c"), ("a\n b", "a b"), ("a & b", "a &amp; b")]
)
def test_marks_are_escaped(given, wanted):
    assert text(given) == wanted
