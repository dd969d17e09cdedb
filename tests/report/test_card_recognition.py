import pytest
from attack_rows import constant

from espnet_ext.data.files import read_json, write_json
from espnet_ext.report.recognition_report import NO_CONTROL, SweepReport, condition_name
from espnet_ext.report.reports import read_report

ALL = {"wer", "adv_twer", "success_rate"}


def test_each_condition_of_a_sweep_has_a_card(sweep):
    cards = read_report(sweep).cards()
    names = [card["model"]["name"] for card in cards]
    assert names == ["la1_lc0_li0", "la1_lc0.5_li0.5", "la0.7_lc0_li0"]
    assert cards[0]["model"]["description"] == "STL decoder, λ_A 1, λ_C 0, inference 0"
    assert [a["metrics"]["adv_twer"]["value"] for a in cards[1]["attacks"]] == [40.0, 80.0]
    assert cards[0]["clean"]["trials"] == {"utterances": 8}
    assert cards[0]["clean"]["metrics"]["wer"]["value"] == 12.5
    assert {tuple(card["model"]["training_seeds"]) for card in cards} == {(0,)}
    assert "accent_accuracy" not in cards[0]["clean"]["metrics"]
    assert cards[2]["clean"]["metrics"]["accent_accuracy"]["value"] == 75.0
    assert cards[2]["definitions"]["accent_accuracy"].startswith("share of utterances whose accent")


def test_a_sweep_without_attack_has_no_card(sweep):
    report = read_report(sweep)
    for condition in report.results["conditions"]:
        condition["attack"] = condition["attack"][:1]
    assert report.cards() == []


def test_a_transfer_has_no_card(sweep, attacked):
    made_on = {"model": {"config": {"path": "exp/ctc/config.yaml"}}, "ctc_weight": 1.0}
    report = read_report(sweep)
    report.results["made_on"] = made_on
    assert report.cards() == []
    directory, _ = attacked(audio=False)
    about = read_json(directory / "attack.json")
    write_json(directory / "attack.json", {**about, "made_on": made_on})
    assert read_report(directory).cards() == []


def test_variants_of_a_model_have_names_of_their_own(sweep):
    report = read_report(sweep)
    report.results["baseline_variant"] = "entropy0.3"
    report.results["conditions"][0]["variant"] = "entropy0.3"
    names = [card["model"]["name"] for card in report.cards()]
    assert names[0] == "la1_lc0_li0_entropy0.3" and len(set(names)) == 3


def test_the_card_of_an_attack(attacked):
    directory, _ = attacked(audio=False)
    about = read_json(directory / "attack.json")
    about["model"]["config"] = {
        "path": "/home/somebody/exp/my_model/config.yaml",
        "sha256": "1" * 64,
    }
    write_json(directory / "attack.json", about)
    (card,) = read_report(directory).cards()
    assert card["model"]["name"] == "my_model" and "somebody" not in str(card)
    assert card["model"]["files"] == {"weights": "0" * 64, "config": "1" * 64}
    assert card["model"]["description"] == "weight of CTC at inference 0.5"
    assert card["model"]["training_seeds"] == [3]
    first, last = card["attacks"]
    assert (first["steps"], last["steps"], last["norm"], last["seed"]) == (5, 10, "2", 7)
    assert last["budget"] == {"kind": "eps", "value": 2.0, "unit": "full scale is 1"}
    assert last["access"] == "white box" and last["control"] is None
    assert last["snr_median_db"] == 47.5 and last["trials"] == {"utterances": 6}
    assert set(last["metrics"]) == {"wer", "adv_twer", "success_rate"}
    assert card["clean"]["metrics"]["wer"]["value"] == 400.0 and card["commit"] == "0123456789ab"


@pytest.mark.parametrize(
    ("settings", "gaps", "scores"),
    [
        ({"norm": 2}, {"perturbations bounded in L∞", "untargeted attacks"}, ALL),
        (
            {"norm": "inf", "targeted": False},
            {"perturbations bounded in L2", "targeted attacks"},
            {"wer", "success_rate"},
        ),
        ({}, {"perturbations bounded in other norms"}, ALL),
    ],
)
def test_what_was_not_tested_follows_from_the_settings(attacked, settings, gaps, scores):
    directory, _ = attacked(audio=False)
    write_json(directory / "attack.json", {"settings": settings})
    (card,) = read_report(directory).cards()
    assert {NO_CONTROL, *gaps} <= {*card["not_tested"]}
    assert set(card["attacks"][0]["metrics"]) == scores
    # Without the files, the name is that of the directory.
    assert card["model"]["name"] == "la1.0_lc0.5_seed0/attack_li0.5"


def test_an_attack_of_no_steps_has_no_card(attacked):
    directory, _ = attacked({("eps2", 0): [5] * 6}, audio=False)
    assert read_report(directory).cards() == []


def test_budgets_and_names(attacked):
    directory, _ = attacked({("snr35.5", 0): [5] * 6, ("snr35.5", 5): [1] * 6}, audio=False)
    (card,) = read_report(directory).cards()
    assert card["attacks"][0]["budget"] == {"kind": "snr", "value": 35.5, "unit": "dB"}
    weights = {"asr_weight": 0.7, "ctc_weight": 0.5, "inference_ctc_weight": 0.0}
    weights["variant"] = ""
    assert condition_name(weights) == "la0.7_lc0.5_li0"


def test_a_card_says_how_often_the_model_was_trained(add, results, tmp_path):
    runs = [add((1.0, 0.0, 0.0), constant(3, 2), seed=seed) for seed in (0, 4)]
    several, one = (SweepReport(tmp_path, results(c)).cards()[0] for c in (runs, runs[:1]))
    assert several["model"]["training_seeds"] == [0, 4]
    told = [any("training seeds" in line for line in c["not_tested"]) for c in (several, one)]
    assert told == [False, True]
