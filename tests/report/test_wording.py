import pytest

from espnet_ext.report.wording import (
    attack_name,
    attacker,
    budget_name,
    by_chance,
    excludes_zero,
    method_name,
    shown,
    weights,
    with_arrow,
)


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
        ([None, None, None], "-"),
    ],
)
def test_a_value_is_shown_with_its_interval(value, expected):
    assert shown(value) == expected


def test_digits_may_be_chosen():
    assert shown([1.23456, 1.0, 2.0], digits=3) == "1.235 (1.000 to 2.000)"


def test_weights_are_shown_without_zeros():
    condition = {"asr_weight": 1.0, "ctc_weight": 0.5, "inference_ctc_weight": 0.0, "variant": ""}
    assert weights(condition) == "λ_A 1, λ_C 0.5, inference 0"
    assert weights({**condition, "variant": "mock"}, ["ctc_weight"]) == "λ_C 0.5, mock"


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 0.5, 2], "1.0 (0.5 to 2.0) ↑"),
        ([-1, -2, -0.5], "-1.0 (-2.0 to -0.5) ↓"),
        ([1, 0.0, 2], "1.0 (0.0 to 2.0)"),
        ([1, None, None], "1.0"),
        (None, "-"),
    ],
)
def test_arrows_need_the_whole_interval(value, expected):
    assert with_arrow(value) == expected


def test_methods_have_names():
    assert method_name("noise") == "random signs"
    assert method_name("another") == "another"


@pytest.mark.parametrize(
    ("tag", "expected"), [("snr35", "SNR 35 dB"), ("snr-0.5", "SNR -0.5 dB"), ("eps2", "ε = 2")]
)
def test_budgets_are_written_as_people_do(tag, expected):
    assert budget_name(tag) == expected
