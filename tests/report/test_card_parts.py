import pytest

from espnet_ext.report.card_parts import NEVER_TESTED, make_card, metric, metrics


@pytest.mark.parametrize(
    ("name", "unit"), [("wer", "percent"), ("loss", "points"), ("min_tdcf_2019", "none")]
)
def test_a_metric_has_its_interval_and_its_unit(name, unit):
    found = metric(name, [1.0, None, 2.0])
    assert found == {"value": 1.0, "low": None, "high": 2.0, "unit": unit}


def test_metrics_that_are_not_there_are_left_out():
    entry = {"wer": [1.0, 0.0, 2.0], "cer": None, "loss_mean": 3.0}
    assert list(metrics(entry, ("cer", "wer", "eer"))) == ["wer"]


def test_a_card_defines_what_it_has_and_no_more():
    one = {"metrics": metrics({"wer": [1, 0, 2]}, ["wer"]), "control": None}
    two = {"metrics": {}, "control": {"metrics": metrics({"eer": [1, 0, 2]}, ["eer"])}}
    definitions = {name: f"what {name} is" for name in ("wer", "eer", "cer", "snr", "interval")}
    clean = {"trials": {}, "metrics": {}}
    card = make_card({}, clean, [one, two], definitions, ["a"], {"commit": "c0ffee"})
    assert list(card["definitions"]) == ["wer", "eer", "interval"]
    assert card["not_tested"] == ["a", *NEVER_TESTED] and card["commit"] == "c0ffee"
