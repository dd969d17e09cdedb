"""The sentences say what the numbers say, whatever one would like them to say."""

import pytest
from attack_rows import constant, log_rows, scored

from espnet_ext.report.verdict import (
    attack_verdict,
    setting,
    strongest,
    sweep_verdict,
)


def attack(wrong, **changes):
    return {"scores": scored(log_rows(wrong, **changes))}


def test_a_sweep_in_three_sentences(three, results):
    first, second, third = sweep_verdict(results(three))
    assert first == (
        "Without attack the STL decoder, which the others are compared with, has a WER of 12.5 "
        "(0.0 to 37.5) %; after targeted L2 PGD (ε = 2, 10 steps) its transcript is exactly the "
        "attacker's target on 0.0 (0.0 to 0.0) % of 6 utterances."
    )
    # Less 20 for sure, plus 40 for sure, less 10 with zero inside, less 30 for sure.
    assert "Of 4 paired comparisons with it (2 other conditions" in second
    assert "1 are harder to attack, 2 easier and 1 not distinguishable" in second
    assert "about 0.2 would differ by chance" in second
    assert "its AdvTWER is 40.0 (40.0 to 40.0) %" in third
    assert third.endswith("a paired difference of 40.0 (40.0 to 40.0) points: harder to attack.")


@pytest.mark.parametrize(
    ("second", "answer"), [(2, "not distinguishable"), (1, "easier to attack"), (3, "harder")]
)
def test_the_sign_of_a_difference_decides_and_not_its_size(add, results, second, answer):
    conditions = [add((1.0, 0.0, 0.0), constant(3, 2)), add((1.0, 0.5, 0.5), constant(3, second))]
    assert f": {answer}" in sweep_verdict(results(conditions))[2]


def test_a_sweep_of_one_condition_compares_nothing(add, results):
    verdict = sweep_verdict(results([add((1.0, 0.0, 0.0), constant(3, 2))]))
    assert verdict[1] == "There is no other condition to compare it with."
    assert len(verdict) == 3 and "of the others" not in verdict[2]


def test_a_sweep_that_attacked_nothing_says_so(add, results):
    verdict = sweep_verdict(results([add((1.0, 0.0, 0.0), {("eps2", 0): [5] * 6})]))
    assert verdict[1:] == ["Nothing was attacked.", "So nothing is said about robustness."]


def test_an_attack_in_three_sentences():
    caution, first, second, third = attack_verdict(
        attack(constant(3, 0)), {"norm": 2, "targeted": True}
    )
    # The reference is "oops": four of five are too many; then five words are wrong.
    assert "recognises little" in caution and "400.0 %" in caution
    assert first.startswith("The WER is 400.0 (400.0 to 400.0) % without attack and")
    assert "under targeted L2 PGD (ε = 2, 10 steps), on 6 utterances" in first
    assert "word for word in 100.0 (100.0 to 100.0) % of utterances" in second
    assert "from 100.0 (100.0 to 100.0) % to 0.0 (0.0 to 0.0) %" in second
    assert second.endswith("the intervals do not overlap.")
    assert "47.5 dB below the speech (median SNR; lowest 45.0 dB)" in third
    assert "no noise of the same size was tried" in third


def test_an_attack_that_does_nothing_is_not_distinguishable_from_none():
    mixed = [5, 4, 5, 3, 5, 4]
    unchanged = {("eps2", 0): mixed, ("eps2", 5): mixed}
    for sentence in attack_verdict(attack(unchanged), {})[1:3]:
        assert "the intervals overlap, so this is not distinguishable from no attack" in sentence


def test_one_utterance_has_no_interval_and_so_no_verdict():
    rows = [row for row in log_rows(constant(3, 0)) if row["utterance"] == "u0"]
    _, first, _, _ = attack_verdict({"scores": scored(rows)}, {})
    assert first.endswith("there are too few utterances for intervals.")


def test_what_was_not_measured_is_said():
    first, second, _ = attack_verdict(attack(constant(3, 0), reference=None), {"targeted": False})
    assert first.startswith("No references were given, so the WER under untargeted PGD")
    assert second == "The attack had no target, so AdvTWER and success say nothing here."
    assert attack_verdict({"scores": []}, {}) == ["Nothing was attacked."]


def test_the_strongest_is_the_one_with_least_adv_twer():
    entries = attack({**constant(1, 3), ("snr30", 5): [2] * 6})["scores"]
    assert setting(strongest(entries)) == "ε = 2, 5 steps"
    assert strongest([]) is None
