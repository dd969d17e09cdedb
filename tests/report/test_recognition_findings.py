"""The facts are what the numbers say, whatever one would like them to say."""

import pytest
from attack_rows import constant, log_row, log_rows, scored

from espnet_ext.report.findings import Signs, sentence
from espnet_ext.report.recognition_findings import (
    attack_findings,
    family_findings,
    setting_findings,
    strongest,
    sweep_findings,
)
from espnet_ext.report.wording import setting_name


def facts(findings) -> dict[str, dict]:
    """Values by kind, in order; every fact has a sentence without None or braces."""
    found = {finding.kind: finding.values for finding in findings}
    for finding in map(sentence, findings):
        assert finding.endswith(".") and "None" not in finding and "{" not in finding
    return found


def of_sweep(results) -> dict[str, dict]:
    return facts(list(sweep_findings(results)))


def of_attack(rows, settings) -> dict[str, dict]:
    return facts(list(attack_findings(scored(rows), settings)))


def test_a_sweep_in_three_facts(three, results):
    found = of_sweep(results(three))
    assert list(found)[:3] == ["baseline", "comparisons", "strongest"]
    assert found["baseline"]["wer"] == [12.5, 0.0, 37.5]
    assert setting_name(found["baseline"]["entry"]) == "ε = 2, 10 steps"
    # Less 20 for sure, plus 40 for sure, less 10 with zero inside, less 30 for sure.
    assert found["comparisons"] == {"others": 2, "signs": Signs(1, 2, 1)}
    assert found["strongest"]["entry"]["adv_twer"] == [40, 40, 40]
    assert found["strongest"]["highest"]["difference"] == [40, 40, 40]
    assert found["strongest"]["best"].startswith("MTL CTC+decoder, λ_A 1")


@pytest.mark.parametrize(
    ("second", "answer"), [(2, "not distinguishable"), (1, "easier to attack"), (3, "harder")]
)
def test_the_sign_of_a_difference_decides_and_not_its_size(add, results, second, answer):
    conditions = [add((1.0, 0.0, 0.0), constant(3, 2)), add((1.0, 0.5, 0.5), constant(3, second))]
    assert f": {answer}" in [sentence(f) for f in sweep_findings(results(conditions))][2]


def test_controls_stand_in_the_verdict_of_a_sweep(three, results):
    attacked, clean = (f.values for f in family_findings(results(three)))
    # Four comparisons; three differ, and of six utterances all draws are on one side.
    assert (attacked["of"], attacked["differ"], attacked["remain"]) == (4, 3, 3)
    assert (clean["of"], clean["differ"], clean["remain"]) == (2, 0, 0)
    found = of_sweep(results(three))
    assert found["alike"] == {"measure": "WER", "most": 0.0}
    assert found["loudness"]["noise"] is None


def test_a_sweep_of_before_there_were_flags_says_what_it_said(three, results):
    found = results(three)
    del found["flags"]
    assert list(of_sweep(found)) == ["baseline", "comparisons", "strongest"]


def test_a_sweep_of_one_condition_compares_nothing(add, results):
    found = of_sweep(results([add((1.0, 0.0, 0.0), constant(3, 2))]))
    assert found["comparisons"] == {"others": 0, "signs": Signs(0, 0, 0)}
    assert "highest" not in found["strongest"]


def test_every_budget_and_number_of_steps_is_counted(three, results):
    found = {f.values["entry"]["step"]: f.values["signs"] for f in setting_findings(results(three))}
    assert found == {5: Signs(0, 1, 1), 10: Signs(1, 1, 0)}
    assert not list(setting_findings(results(three[:1])))


def test_a_sweep_that_attacked_nothing_says_so(add, results):
    found = of_sweep(results([add((1.0, 0.0, 0.0), {("eps2", 0): [5] * 6})]))
    assert list(found) == ["not_attacked"]


def test_an_attack_in_three_facts():
    found = of_attack(log_rows(constant(3, 0)), {"norm": 2, "targeted": True})
    assert list(found) == ["transcripts", "target", "loudness"]
    assert found["target"]["entry"]["adv_twer"] == (0.0, 0.0, 0.0)
    assert found["loudness"]["entry"]["snr_median"] == 47.5
    assert found["loudness"]["noise"] is None


def test_noise_of_the_same_size_stands_beside_the_attack():
    noise = [log_row(f"u{n}", "eps2", 1, 5) | {"method": "noise"} for n in range(6)]
    scores = scored([*log_rows(constant(3, 0)), *noise])
    assert strongest(scores)["step"] == 10
    findings = list(attack_findings(scores, {}))
    assert facts(findings)["loudness"]["noise"]["adv_twer"] == (100.0, 100.0, 100.0)
    assert "under noise of the same size the WER is 400.0" in sentence(findings[-1])


def sentences(rows, settings) -> list[str]:
    return [sentence(finding) for finding in attack_findings(scored(rows), settings)]


def test_an_attack_that_does_nothing_is_not_distinguishable_from_none():
    mixed = [5, 4, 5, 3, 5, 4]
    unchanged = {("eps2", 0): mixed, ("eps2", 5): mixed}
    for said in sentences(log_rows(unchanged), {})[:2]:
        assert "the intervals overlap, so this is not distinguishable from no attack" in said


def test_one_utterance_has_no_interval_and_so_no_verdict():
    rows = [row for row in log_rows(constant(3, 0)) if row["utterance"] == "u0"]
    assert "too few utterances for intervals" in sentences(rows, {})[0]


def test_what_was_not_measured_is_said():
    rows = log_rows(constant(3, 0), reference=None)
    assert list(of_attack(rows, {"targeted": False})) == ["transcripts", "no_target", "loudness"]
    assert sentences(rows, {"targeted": False})[0].startswith("No references were given")
    assert list(of_attack([], {})) == ["nothing"]


def test_the_strongest_is_the_one_with_least_adv_twer():
    entries = scored(log_rows({**constant(1, 3), ("snr30", 5): [2] * 6}))
    assert setting_name(strongest(entries)) == "ε = 2, 5 steps"
    assert strongest([]) is None


def test_the_strongest_without_a_target_has_most_successes_then_most_errors():
    """All are farther from the target than the first one, which says nothing."""
    rates = {5: (50.0, 20.0), 10: (100.0, 30.0), 25: (100.0, 60.0)}
    scores = scored(log_rows({("snr30", step): [2 + step] * 6 for step in (0, *rates)}))
    for entry in scores:
        if entry["step"]:
            success, wer = rates[entry["step"]]
            entry |= {"success_rate": [success] * 3, "wer": [wer] * 3}
    assert strongest(scores)["step"] == 5
    assert strongest(scores, targeted=False)["step"] == 25
