"""A verdict that cannot be trusted says so before it says anything else."""

import pytest
from attack_rows import constant

from espnet_ext.report import cautions
from espnet_ext.report.card import cards_of
from espnet_ext.report.card_markdown import card_markdown
from espnet_ext.report.countermeasure_findings import findings, verdict
from espnet_ext.report.experiments import read_experiment
from espnet_ext.report.markdown import render_results
from espnet_ext.report.verdict import sweep_verdict


def pair(add, results, errors=(0, 0)):
    """A baseline and another model with so many of eight utterances wrong without attack."""
    return results(
        [
            add((1.0, 0.0, 0.0), constant(3, 2), misheard=errors[0]),
            add((1.0, 0.5, 0.5), constant(3, 3), misheard=errors[1]),
        ]
    )


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((0, 0), []),
        ((3, 3), []),
        ((0, 3), ["compared"]),  # 0 and 37.5 %
        ((3, 0), ["compared"]),
        ((4, 4), ["recognises little"]),  # 50 %
        ((0, 4), ["recognises little", "compared"]),
    ],
)
def test_models_that_cannot_be_judged_or_compared_come_first(add, results, errors, said):
    found = pair(add, results, errors)
    verdict = sweep_verdict(found)
    assert len(verdict) == len(said) + 3
    for word, sentence in zip(said, verdict, strict=False):
        assert word in sentence
    report = render_results(found, "figure.png")
    positions = [report.index(sentence) for sentence in verdict[: len(said)]]
    assert positions == sorted(positions) and all(p < 1500 for p in positions)


def test_a_model_is_named_with_its_error(add, results):
    (sentence,) = cautions.sweep_cautions(*of(pair(add, results, (0, 3))))
    assert "37.5 %" in sentence and "0.0 %" in sentence and "10 points" in sentence


def of(found):
    return found, found["conditions"][0], found["conditions"]


@pytest.mark.parametrize(
    ("step", "norm", "long"), [(0.05, 2, True), (0.005, 2, False), (0.05, "inf", False)]
)
def test_steps_that_are_long_for_the_ball_are_said(step, norm, long):
    entries = [
        {"budget": "snr41", "step": steps, "l2_median": l2}
        for steps, l2 in ((0, 0.0), (5, 0.05), (100, 0.1))
    ]
    found = cautions.attack_cautions(entries, {"norm": norm, "eps_step": step})
    assert bool(found) == long
    assert not long or "50 % at SNR 41 dB" in found[0]


def test_budgets_of_a_given_size_are_not_taken_for_small_ones():
    entries = [{"budget": "eps2", "step": 5, "l2_median": 0.1}]
    assert cautions.attack_cautions(entries, {"norm": 2, "eps_step": 0.05}) == []


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
    experiment = read_experiment(countermeasures)
    experiment.results["models"][0]["eer"] = eer
    name = experiment.results["models"][0]["name"]
    for sentences in (verdict(experiment.results), findings(experiment.results)):
        assert ("near chance" in sentences[0] and name in sentences[0]) == chance
    cards = {card["model"]["name"]: card for card in cards_of(experiment)}
    assert bool(cards[name]["cautions"]) == chance
    text = card_markdown(cards[name])
    assert ("near chance" in text.split("Without attack, ")[0]) == chance


def test_the_card_of_a_model_that_recognises_nothing_says_so(attacked):
    directory, _ = attacked()
    (card,) = cards_of(read_experiment(directory))
    # One word is said and five are heard without attack.
    assert "recognises little" in card["cautions"][0]
    assert "recognises little" in card_markdown(card).split("Without attack, ")[0]
