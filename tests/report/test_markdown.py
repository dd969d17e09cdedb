import copy
import dataclasses

import pytest
from attack_rows import constant

from espnet_ext.report.markdown import write_results
from espnet_ext.report.tables import baseline


def sections(text: str) -> dict[str, str]:
    """What stands below each heading."""
    parts = ("\n" + text).split("\n#")[1:]
    return {p.split("\n", 1)[0].lstrip("# "): p.split("\n", 1)[1].strip() for p in parts}


def table(section: str) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if set(row[0]) - set(":-")]


def shown(value: list[float]) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*value)


@pytest.fixture
def report(tmp_path):
    def report(results: dict) -> dict[str, str]:
        write_results(results, tmp_path / "RESULTS.md", "figure1.png")
        return sections((tmp_path / "RESULTS.md").read_text())

    return report


def test_the_report_starts_with_what_is_certain(three, results, report):
    lines = report(results(three))["Robustness of multi-task ASR"].splitlines()
    assert lines[0] == (
        "3 conditions, 6 attacked utterances, targeted L2 PGD by an attacker who has the model, "
        "compared with the STL decoder on the same utterances:"
    )
    assert lines[2:4] == [
        "- ε = 2, 5 steps: 0 harder to attack, 1 easier, 1 not distinguishable.",
        "- ε = 2, 10 steps: 1 harder to attack, 1 easier, 0 not distinguishable.",
    ]
    assert lines[5].startswith("These are 4 comparisons") and "about 0.2 " in lines[5]


def test_the_figure_is_linked(three, results, report):
    assert "](figure1.png)" in report(results(three))["Robustness of multi-task ASR"]


def test_scores_without_attack_are_those_of_the_results(three, results, report):
    found = results(three)
    section = report(found)["Without attack"]
    assert section.startswith("8 test utterances.")
    header, *rows = table(section)
    assert header[:4] == ["model", "λ_A", "λ_C", "inference λ_C"]
    assert header[4:] == ["WER %", "less the baseline's", "CER %", "accent accuracy %"]
    for row, condition in zip(rows, found["conditions"], strict=True):
        benign = condition["benign"]
        accuracy = shown(benign["accent_accuracy"]) if "accent_accuracy" in benign else "-"
        less = [shown(benign[key]) for key in ("wer", "wer_difference", "cer")]
        assert row[4:] == [*less, accuracy]
    assert [row[:4] for row in rows][2] == ["MTL decoder+classifier", "0.7", "0", "0"]


def test_tables_hold_the_numbers_of_the_results(three, results, report):
    found = results(three)
    header, *rows = table(report(found)["Table 1: CTC and decoder (λ_A = 1)"])
    assert header == ["", "λ_C 0, inference 0", "λ_C 0.5, inference 0.5"]
    for number, condition in enumerate(found["conditions"][:2], 1):
        for row, entry in zip(rows, condition["attack"], strict=True):
            assert row[number].strip("*↑↓ ") == shown(entry["adv_twer"])
    assert [row[0] for row in rows] == ["no attack", "PGD-5", "PGD-10"]


def test_bold_and_arrows_follow_the_results(three, results, report):
    rows = table(report(results(three))["Table 1: CTC and decoder (λ_A = 1)"])
    assert rows[2][1:] == ["**60.0 (60.0 to 60.0)**", "40.0 (40.0 to 40.0) ↓"]
    assert rows[3][1:] == ["40.0 (40.0 to 40.0)", "**80.0 (80.0 to 80.0)** ↑"]


def test_differences_hold_the_numbers_of_the_results(three, results, report):
    found = results(three)
    header, *rows = table(report(found)["Differences to the baseline"])
    assert header[1:] == ["5", "10"]
    assert [row[0].split(" (")[0] for row in rows] == ["MTL CTC+decoder", "MTL decoder+classifier"]
    for row, condition in zip(rows, found["conditions"][1:], strict=True):
        assert row[1:] == [shown(entry["difference"]) for entry in condition["attack"][1:]]


def test_the_attack_itself_is_described_by_the_baseline(three, results, report):
    rows = table(report(results(three))["The attack itself"])[1:]
    assert rows == [
        ["ε = 2, 5 steps", "0.0 (0.0 to 0.0)", "52.5", "50.0", "0.050", "45.00"],
        ["ε = 2, 10 steps", "0.0 (0.0 to 0.0)", "47.5", "45.0", "0.100", "40.00"],
    ]


def test_tables_of_one_condition_are_left_out(three, results, report):
    found = report(results(three))
    assert "Table 2: decoder and classifier (λ_C = 0)" in found
    assert not [title for title in found if title.startswith("Table 3")]


def test_conditions_of_no_table_have_one_of_their_own(add, results, report):
    wrong = {("eps2", 0): [5] * 6, ("eps2", 5): [2] * 6}
    listed = [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.6, 0.3, 0.3), (0.7, 0.5, 0.0)]
    found = report(results([add(weights, wrong) for weights in listed]))
    others = table(found["Other conditions"])
    assert others[0][1:] == ["λ_A 0.6, λ_C 0.3, inference 0.3", "λ_A 0.7, λ_C 0.5, inference 0"]
    assert others[2][1].strip("*") == "40.0 (40.0 to 40.0)"


def test_a_variant_stays_out_of_the_papers_tables_and_keeps_its_name(add, results, report):
    wrong = {("eps2", 0): [5] * 6, ("eps2", 5): [2] * 6}
    plain, ctc = add((1.0, 0.0, 0.0), wrong), add((1.0, 1.0, 1.0), wrong)
    other = dataclasses.replace(plain, variant="mockingjay")
    results = results([other, plain, ctc])
    assert baseline(results) is results["conditions"][1]
    found = report(results)
    assert len(table(found["Table 1: CTC and decoder (λ_A = 1)"])[0]) == 3
    others = table(found["Other conditions"])
    assert others[0][1] == "λ_A 1, λ_C 0, inference 0, mockingjay"
    assert "STL decoder, mockingjay" in found["Without attack"]


def test_where_every_condition_has_its_table_there_are_no_others(three, results, report):
    assert "Other conditions" not in report(results(three))


def test_the_settings_are_shown_in_full(three, results, report):
    found = results(three)
    section = report(found)["How it was made"]
    for name, definition in found["definitions"].items():
        assert f"- `{name}`: {definition}" in section
    assert "](results.json)" in section


def test_every_budget_has_its_section(add, results, report):
    wrong = {("snr35", 0): [5] * 6, ("snr35", 5): [1] * 6, ("snr41", 5): [2] * 6}
    found = report(results([add((1.0, 0.0, 0.0), wrong), add((1.0, 1.0, 1.0), wrong)]))
    for title in ("Under attack, SNR 35 dB", "Under attack, SNR 41 dB"):
        assert "to the STL decoder is above" in found[title]
    assert len(table(found["The attack itself"])) == 3


def test_the_baseline_is_found_by_its_weights(three, results):
    found = results(three[::-1])
    assert baseline(found) is found["conditions"][2]


def test_writing_changes_nothing_in_the_results(three, results, report):
    found = results(three)
    before = copy.deepcopy(found)
    report(found)
    assert found == before


def test_an_attack_that_did_not_move_is_reported(three, results, report):
    found = results(three)
    for entry in found["conditions"][0]["attack"]:
        entry |= {"snr_median": None, "snr_min": None}
    assert table(report(found)["The attack itself"])[1][2:4] == ["-", "-"]


def test_one_condition_alone_is_compared_with_nothing(three, results, report):
    found = report(results(three[:1]))["Robustness of multi-task ASR"]
    assert "by chance" not in found


def test_a_transfer_says_whose_audio_it_is(three, results, report):
    made_on = {"model": {"config": {"path": "exp/ctc/config.yaml"}}, "ctc_weight": 1.0}
    text = report({**results(three), "made_on": made_on})["Robustness of multi-task ASR"]
    assert "with audio that was made on ctc (weight of CTC 1), compared with" in text
    assert "does not say that a model withstands one of its own" in text


def test_training_seeds_are_counted_where_there_are_several(add, results, report):
    runs = [add((1.0, 0.0, 0.0), constant(3, 2), seed=seed) for seed in (0, 1)]
    found = report(results(runs))
    assert "(up to 2 training seeds), 6 attacked" in found["Robustness of multi-task ASR"]
    header, row = table(found["Without attack"])
    assert (header[1], row[1]) == ("seeds", "2")


def test_models_of_another_wer_are_marked(add, results, report):
    models = [
        add((1.0, 0.0, 0.0), constant(3, 2)),
        add((1.0, 0.5, 0.5), constant(3, 2), misheard=8),
    ]
    rows = table(report(results(models))["Without attack"])
    assert [row[5] for row in rows[1:]] == ["0.0 (0.0 to 0.0)", "87.5 (62.5 to 100.0) ↑"]
