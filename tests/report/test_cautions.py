"""A verdict that cannot be trusted says so before it says anything else."""

import pytest

from espnet_ext.report.card import card_markdown
from espnet_ext.report.findings import sentence
from espnet_ext.report.reports import read_report


@pytest.mark.parametrize(
    ("eer", "chance"),
    [
        ([35.0, 20.0, 49.0], False),
        ([35.0, 20.0, 50.5], True),
        ([41.0, 38.0, 44.0], True),
        ([35.0, None, None], False),
    ],
)
def test_a_countermeasure_near_chance_is_named_first(countermeasures, eer, chance):
    report = read_report(countermeasures)
    report.results["models"][0]["eer"] = eer
    name = report.results["models"][0]["name"]
    first = next(report.verdict())
    assert (first.kind == "near_chance" and name in sentence(first)) == chance
    cards = {card["model"]["name"]: card for card in report.cards()}
    assert bool(cards[name]["cautions"]) == chance
    text = card_markdown(cards[name])
    assert ("near chance" in text.split("Without attack, ")[0]) == chance


def test_the_card_of_a_model_that_recognises_nothing_says_so(attacked):
    directory, _ = attacked()
    (card,) = read_report(directory).cards()
    # One word is said and five are heard without attack.
    assert "recognises little" in card["cautions"][0]
    assert "recognises little" in card_markdown(card).split("Without attack, ")[0]
