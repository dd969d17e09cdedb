import pytest

from espnet_ext.report.reports import read_report


@pytest.fixture
def report(countermeasures):
    return read_report(countermeasures)


@pytest.fixture
def card(report):
    """The card of one countermeasure."""

    def card(name: str):
        return next(c for c in report.cards() if c["model"]["name"] == name)

    return card


def test_each_attacked_countermeasure_has_a_card(report, card):
    names = [c["model"]["name"] for c in report.cards()]
    assert names == ["lcnn_mel", "lcnn_mock", "senet_mel"]
    model = card("lcnn_mock")["model"]
    assert model["description"] == "lcnn, variant mock" and model["training_seeds"] == [0, 1]
    report.results["cells"] = [c for c in report.results["cells"] if c["target"] == "lcnn_mel"]
    assert len(report.cards()) == 1


def test_an_attack_stands_beside_random_signs_of_its_size(card):
    attacks = card("lcnn_mel")["attacks"]
    assert [(a["method"], a["budget"]["value"]) for a in attacks] == [
        (method, eps) for method in ("FGSM", "PGD") for eps in (0.1, 0.3, 8.0)
    ]
    pgd = attacks[3]
    # Two of four bona fide trials and three of six spoofs are left; random signs do nothing.
    assert pgd["metrics"]["balanced_accuracy"]["value"] == 50.0
    assert pgd["metrics"]["beyond_noise"]["value"] == 50.0
    assert pgd["metrics"]["beyond_noise"]["unit"] == "points"
    assert pgd["control"]["method"] == "random signs"
    assert pgd["control"]["metrics"]["balanced_accuracy"]["value"] == 100.0
    assert "beyond_noise" not in pgd["control"]["metrics"]
    assert (pgd["access"], pgd["source"], pgd["steps"]) == ("transfer", "senet_mel", 10)
    assert attacks[0]["steps"] == 1 and pgd["trials"]["spoof"] == 6


def test_clean_error_rates_and_every_definition_are_there(card):
    found = card("lcnn_mel")
    assert found["clean"]["trials"] == {"bonafide": 4, "spoof": 6, "speakers": 4}
    assert found["clean"]["metrics"]["eer"]["value"] == 0.0
    used = {*found["clean"]["metrics"], *found["attacks"][0]["metrics"], "interval"}
    assert used == {*found["definitions"]}


def test_gaps_follow_from_what_was_attacked(card):
    transferred, white = card("lcnn_mel")["not_tested"], card("senet_mel")["not_tested"]
    assert "an attacker who has this model (white box)" in transferred
    assert "transfer from another model" in white and "FGSM on this model" in white
    assert "APGD on this model" in transferred and "PGD on this model" not in transferred
    for gaps in (transferred, white):
        assert not any("random signs" in gap or "training seeds" in gap for gap in gaps)


def test_space_unit_loudness_and_seeds_come_from_the_result(report, card):
    about = report.results["attack"]["senet_mel"]
    about["settings"] = {"space": "features", "unit": "std", "steps": 10, "seed": 3, "queries": 50}
    about["by_eps"]["snr_pgd"] = {"0.1": 20.5}
    report.results["models"][0]["seeds"] = [0]
    report.results["cells"] = [c for c in report.results["cells"] if c["method"] != "noise"]
    report.results["cells"].append({**report.results["cells"][0], "method": "square"})
    found = card("lcnn_mel")
    pgd, square = found["attacks"][3], found["attacks"][-1]
    assert (pgd["space"], pgd["seed"], pgd["snr_median_db"]) == ("features", 3, 20.5)
    assert pgd["budget"]["unit"] == "standard deviations of each feature"
    assert square["steps"] == 50 and pgd["control"] is None
    assert {
        "attacks on waveforms",
        "other training seeds: this is one trained model",
        "random signs of the same ε beside every attack, as a control",
    } <= {*found["not_tested"]}
