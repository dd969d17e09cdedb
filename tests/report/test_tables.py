import re

import pytest

from espnet_ext.report.tables import (
    adv_twer_table,
    attack_entry,
    attack_name,
    attacker,
    by_chance,
    excludes_zero,
    interval,
    markdown_table,
    table_1,
    table_2,
    table_3,
    weights,
)


def condition(*lambdas: float, **steps: tuple[float, int]) -> dict:
    """A condition with (AdvTWER, sign of the difference) after s0, s5, ... steps."""
    entries = [
        {
            "budget": "eps2",
            "step": int(name[1:]),
            "adv_twer": [value, value - 1, value + 1],
            "difference": [sign, sign - 0.5, sign + 0.5],
        }
        for name, (value, sign) in steps.items()
    ]
    names = ("asr_weight", "ctc_weight", "inference_ctc_weight")
    return {**dict(zip(names, lambdas, strict=True)), "attack": entries}


def lambdas(conditions: list[dict]) -> list[tuple[float, float, float]]:
    return [(c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]) for c in conditions]


def cells(table: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.fixture
def paper(sixteen):
    return [condition(*weights) for weights in sixteen]


def test_table_1_is_lambda_a_of_one(paper):
    same = [(1.0, c, c) for c in (0.0, 0.3, 0.5, 0.7, 1.0)]
    dropped = [(1.0, c, 0.0) for c in (0.3, 0.5, 0.7)]
    assert lambdas(table_1(paper)) == same + dropped


def test_table_2_is_lambda_c_of_zero(paper):
    assert lambdas(table_2(paper)) == [(a, 0.0, 0.0) for a in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)]


def test_table_3_is_the_lambda_a_with_all_lambda_c(paper):
    assert lambdas(table_3(paper)) == [(0.7, c, 0.0) for c in (0.0, 0.3, 0.5, 0.7)]


@pytest.mark.parametrize("table", [table_1, table_2, table_3])
def test_a_table_does_not_depend_on_the_order_of_the_sweep(paper, table):
    assert table(paper[::-1]) == table(paper)


def test_every_condition_of_the_paper_is_in_a_table(paper):
    shown = {*lambdas(table_1(paper)), *lambdas(table_2(paper)), *lambdas(table_3(paper))}
    assert shown == set(lambdas(paper)) and len(shown) == 16


def test_tables_of_a_sweep_without_their_conditions_are_empty():
    assert table_1([condition(0.7, 0.0, 0.0)]) == []
    assert table_2([condition(1.0, 0.5, 0.5)]) == []
    assert table_3([condition(1.0, 0.5, 0.5), condition(0.7, 0.5, 0.5)]) == []


def test_a_table_has_a_row_for_each_number_of_steps():
    one = condition(1, 0, 0, s0=(100, 0), s5=(70, 0), s500=(7.25, 0))
    table = adv_twer_table([one], lambda c: "name", "eps2")
    assert cells(table)[0] == ["", "name"]
    assert [row[0] for row in cells(table)[2:]] == ["no attack", "PGD-5", "PGD-500"]
    assert cells(table)[4][1] == "**7.2 (6.2 to 8.2)**"


def test_the_highest_of_a_row_is_bold_and_arrows_tell_certain_differences():
    conditions = [
        condition(1, 0, 0, s0=(100, 0), s5=(70, 0), s10=(40, 0)),
        condition(1, 0.5, 0.5, s0=(120, 1), s5=(60, -1), s10=(80, 1)),
        condition(1, 1, 1, s0=(90, -1), s5=(70, 0), s10=(41, 0)),
    ]
    rows = cells(adv_twer_table(conditions, weights, "eps2"))[2:]
    short = [[re.sub(r" \(.*\)", "", cell) for cell in row[1:]] for row in rows]
    assert short[0] == ["100.0", "120.0 ↑", "90.0 ↓"]
    assert short[1] == ["**70.0**", "60.0 ↓", "**70.0**"]
    assert short[2] == ["40.0", "**80.0** ↑", "41.0"]


def test_a_table_is_of_one_budget():
    one = condition(1, 0, 0, s5=(70, 0))
    one["attack"] += [{**one["attack"][0], "budget": "snr35", "adv_twer": [9.0, 8.0, 10.0]}]
    rows = cells(adv_twer_table([one], weights, "snr35"))[2:]
    assert rows == [["PGD-5", "**9.0 (8.0 to 10.0)**"]]
    assert attack_entry(one, {"budget": "snr35", "step": 5})["adv_twer"][0] == 9.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([0.0, 0.1, 2.0], 1),
        ([0.0, -2.0, -0.1], -1),
        ([0.0, -1.0, 1.0], 0),
        ([0.0, 0.0, 1.0], 0),
        ([0.0, -1.0, 0.0], 0),
        ([5.0, None, None], 0),
    ],
)
def test_a_difference_is_certain_where_its_interval_leaves_zero_out(value, expected):
    assert excludes_zero(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([58.64, 53.1, 64.02], "58.6 (53.1 to 64.0)"),
        ([-0.5, -1.0, 0.25], "-0.5 (-1.0 to 0.2)"),
        ([100.0, None, None], "100.0"),
        (None, "-"),
    ],
)
def test_a_value_is_shown_with_its_interval(value, expected):
    assert interval(value) == expected


def test_digits_may_be_chosen():
    assert interval([1.23456, 1.0, 2.0], digits=3) == "1.235 (1.000 to 2.000)"


def test_a_markdown_table_has_its_numbers_to_the_right():
    table = markdown_table(["a", "b", "c"], [["x", "1", "2"], ["y", "3", "4"]])
    lines = ["| a | b | c |", "|:--|--:|--:|", "| x | 1 | 2 |", "| y | 3 | 4 |"]
    assert table.splitlines() == lines


def test_weights_are_shown_without_zeros():
    assert weights(condition(1.0, 0.5, 0.0)) == "λ_A 1, λ_C 0.5, inference 0"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"norm": 2}, "targeted L2 PGD"),
        ({"norm": "inf", "targeted": False}, "untargeted L∞ PGD"),
        ({"norm": 2, "targeted": False, "goal": "silence"}, "silencing L2 PGD"),
        ({}, "targeted PGD"),
    ],
)
def test_name_of_an_attack(settings, name):
    assert attack_name(settings) == name


def test_the_attacker_of_a_transfer_had_another_model():
    assert attacker(None) == "by an attacker who has the model"
    made_on = {"model": {"config": {"path": "exp/ctc/config.yaml"}}, "ctc_weight": 1.0}
    assert "made on ctc (weight of CTC 1)" in attacker(made_on)


@pytest.mark.parametrize(
    ("comparisons", "shown"), [(1, "0.05 "), (2, "0.1 "), (20, "1 "), (140, "7 "), (350, "18 ")]
)
def test_how_many_differ_by_chance(comparisons, shown):
    assert by_chance(comparisons).startswith(f"about {shown}")
