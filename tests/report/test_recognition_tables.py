import dataclasses
import re

import pytest
from attack_rows import LAYOUT, constant

from espnet_ext.report.layout import SweepLayout, read_layout
from espnet_ext.report.recognition_findings import attack_entry, baseline
from espnet_ext.report.recognition_tables import (
    adv_twer_table,
    chosen_conditions,
    listener_tables,
    scores_table,
    sweep_tables,
    words_tables,
)

KEYS = ["asr_weight", "ctc_weight", "inference_ctc_weight"]


def condition(*lambdas: float, **steps: tuple[float, int]) -> dict:
    """A condition with (AdvTWER, sign of the difference) after s0, s5, ... steps."""
    entries = [
        {
            "method": "pgd",
            "budget": "eps2",
            "step": int(name[1:]),
            "adv_twer": [value, value - 1, value + 1],
            "difference": [sign, sign - 0.5, sign + 0.5],
        }
        for name, (value, sign) in steps.items()
    ]
    names = ("asr_weight", "ctc_weight", "inference_ctc_weight")
    about = dict(zip(names, lambdas, strict=True))
    return {**about, "variant": "", "attack": entries}


def lambdas(conditions: list[dict]) -> list[tuple[float, float, float]]:
    return [(c["asr_weight"], c["ctc_weight"], c["inference_ctc_weight"]) for c in conditions]


def cells(table: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]


def chosen(conditions: list[dict]) -> list[tuple[str, list[tuple[float, ...]]]]:
    """Titles and conditions of the tables of the recipe."""
    results = {"conditions": conditions, "layout": read_layout(LAYOUT, SweepLayout)}
    found = chosen_conditions(results)
    return [(table["title"].split(":")[0], lambdas(same)) for table, same in found]


def test_the_recipe_has_the_tables_of_the_paper_in_any_order_of_the_sweep(sixteen):
    same = [(1.0, c, c) for c in (0.0, 0.3, 0.5, 0.7, 1.0)]
    dropped = [(1.0, c, 0.0) for c in (0.3, 0.5, 0.7)]
    expected = [
        ("Table 1", same + dropped),
        ("Table 2", [(a, 0.0, 0.0) for a in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)]),
        ("Table 3", [(0.7, c, 0.0) for c in (0.0, 0.3, 0.5, 0.7)]),
    ]
    paper = [condition(*weights) for weights in sixteen]
    assert chosen(paper) == chosen(paper[::-1]) == expected


def test_a_table_of_one_condition_is_left_out():
    others = [condition(0.7, 0.0, 0.0), condition(0.4, 0.2, 0.0)]
    assert chosen(others) == [("Other conditions", lambdas(others))]


def test_a_table_has_a_row_for_each_number_of_steps():
    one = condition(1, 0, 0, s0=(100, 0), s5=(70, 0), s500=(7.25, 0))
    table = adv_twer_table([one], ["asr_weight"], "eps2")
    assert cells(table)[0] == ["", "λ_A 1"]
    assert [row[0] for row in cells(table)[2:]] == ["no attack", "PGD-5", "PGD-500"]
    assert cells(table)[4][1] == "**7.2 (6.2 to 8.2)**"


def test_the_highest_of_a_row_is_bold_and_arrows_tell_certain_differences():
    conditions = [
        condition(1, 0, 0, s0=(100, 0), s5=(70, 0), s10=(40, 0)),
        condition(1, 0.5, 0.5, s0=(120, 1), s5=(60, -1), s10=(80, 1)),
        condition(1, 1, 1, s0=(90, -1), s5=(70, 0), s10=(41, 0)),
    ]
    rows = cells(adv_twer_table(conditions, KEYS, "eps2"))[2:]
    short = [[re.sub(r" \(.*\)", "", cell) for cell in row[1:]] for row in rows]
    assert short[0] == ["100.0", "120.0 ↑", "90.0 ↓"]
    assert short[1] == ["**70.0**", "60.0 ↓", "**70.0**"]
    assert short[2] == ["40.0", "**80.0** ↑", "41.0"]


def test_a_table_is_of_one_budget():
    one = condition(1, 0, 0, s5=(70, 0))
    one["attack"] += [{**one["attack"][0], "budget": "snr35", "adv_twer": [9.0, 8.0, 10.0]}]
    rows = cells(adv_twer_table([one], KEYS, "snr35"))[2:]
    assert rows == [["PGD-5", "**9.0 (8.0 to 10.0)**"]]
    assert attack_entry(one, {"method": "pgd", "budget": "snr35", "step": 5})["adv_twer"][0] == 9.0


@pytest.fixture
def report():
    def report(results: dict) -> dict[str, str]:
        return sections("\n\n".join(sweep_tables(results)) + "\n")

    return report


def sections(text: str) -> dict[str, str]:
    """What stands below each heading."""
    parts = ("\n" + text).split("\n#")[1:]
    return {p.split("\n", 1)[0].lstrip("# "): p.split("\n", 1)[1].strip() for p in parts}


def table(section: str) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if set(row[0]) - set(":-")]


def shown(value: list[float]) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(*value)


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
            assert row[number].strip("*↑↓‡ ") == shown(entry["adv_twer"])
    assert [row[0] for row in rows] == ["no attack", "PGD-5", "PGD-10"]


def test_bold_and_arrows_follow_the_results(three, results, report):
    rows = table(report(results(three))["Table 1: CTC and decoder (λ_A = 1)"])
    assert rows[2][1:] == ["**60.0 (60.0 to 60.0)**", "40.0 (40.0 to 40.0) ↓‡"]
    assert rows[3][1:] == ["40.0 (40.0 to 40.0)", "**80.0 (80.0 to 80.0)** ↑‡"]


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


def test_every_budget_has_its_section(add, results, report):
    wrong = {("snr35", 0): [5] * 6, ("snr35", 5): [1] * 6, ("snr41", 5): [2] * 6}
    found = report(results([add((1.0, 0.0, 0.0), wrong), add((1.0, 1.0, 1.0), wrong)]))
    for title in ("Under attack, SNR 35 dB", "Under attack, SNR 41 dB"):
        assert "to the STL decoder is above" in found[title]
    assert len(table(found["The attack itself"])) == 3


def test_the_baseline_is_found_by_its_weights(three, results):
    found = results(three[::-1])
    assert baseline(found) is found["conditions"][2]


def test_an_attack_that_did_not_move_is_reported(three, results, report):
    found = results(three)
    for entry in found["conditions"][0]["attack"]:
        entry |= {"snr_median": None, "snr_min": None}
    assert table(report(found)["The attack itself"])[1][2:4] == ["-", "-"]


def test_models_of_another_wer_are_marked(add, results, report):
    models = [
        add((1.0, 0.0, 0.0), constant(3, 2)),
        add((1.0, 0.5, 0.5), constant(3, 2), misheard=8),
    ]
    rows = table(report(results(models))["Without attack"])
    assert [row[5] for row in rows[1:]] == ["0.0 (0.0 to 0.0)", "87.5 (62.5 to 100.0) ↑‡"]


def test_scores_of_an_attack_as_a_table():
    entry = {"method": "pgd", "budget": "eps2", "adv_twer": [5, 4, 6]}
    entry["success_rate"] = [90, None, None]
    scores = [
        entry | {"step": 0, "wer": [1, 0, 2], "snr_median": None, "snr_min": None},
        entry | {"step": 10, "snr_median": 30.04, "snr_min": 20.0},
    ]
    assert scores_table(scores).splitlines()[2:] == [
        "| no attack | 5.0 (4.0 to 6.0) | 1.0 (0.0 to 2.0) | 90.0 | - | - |",
        "| ε = 2, 10 steps | 5.0 (4.0 to 6.0) | - | 90.0 | 30.0 | 20.0 |",
    ]


def test_training_seeds_are_counted_where_there_are_several(add, results, report):
    runs = [add((1.0, 0.0, 0.0), constant(3, 2), seed=seed) for seed in (0, 1)]
    header, row = table(report(results(runs))["Without attack"])
    assert (header[1], row[1]) == ("seeds", "2")


def test_words_heard_have_a_line_for_the_last_step_of_each_attack(three, results, report):
    found = results(three)
    header, *body = table(report(found)["Words heard"])
    assert header[2:] == [f"{of}: hits / sub / del / ins" for of in ("target", "reference")]
    assert [row[1] for row in body[:2]] == ["ε = 2, none", "ε = 2, 10 steps"]
    assert len(body) == 2 * len(three)
    entry = found["conditions"][0]["attack"][-1]
    assert body[1][2] == " / ".join(str(n) for n in entry["target_words"].values())
    assert sum(entry["target_words"].values()) == 5 * 6
    earlier = [{**entry}]
    del earlier[0]["target_words"], earlier[0]["reference_words"]
    assert words_tables({"": earlier}) == []


def test_other_searches_have_a_column_each_beside_the_attacked_one(three, results):
    entry = results(three)["conditions"][0]["attack"][-1]
    heard = {"adv_twer": [9.0, 8.0, 10.0], "otherwise": [50.0, 40.0, 60.0]}
    entry |= {"heard_by": {"beam1": heard, "beam10": heard}}
    heading, text = listener_tables({"": [entry]})
    assert heading == "## Heard by other searches"
    header, row = table(text)
    names = ["as attacked", "beam 1 of ESPnet", "beam 10 of ESPnet"]
    assert header[:4] == ["attack", *(f"AdvTWER %, {name}" for name in names)]
    assert row[:4] == ["ε = 2, 10 steps", shown(entry["adv_twer"]), *["9.0 (8.0 to 10.0)"] * 2]
    assert header[-1] == "heard otherwise %, beam 10 of ESPnet"
    assert listener_tables({"": results(three)["conditions"][1]["attack"]}) == []
