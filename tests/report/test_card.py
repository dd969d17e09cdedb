"""Every card follows the published schema; the schema refuses what is no card."""

import json
from pathlib import Path

import pytest
import yaml

from espnet_ext.data.files import read_json, write_json
from espnet_ext.errors import InputError
from espnet_ext.report.card import (
    NEVER_TESTED,
    SCHEMA_FILE,
    SCHEMA_ID,
    card_schema,
    directory_name,
    make_card,
    metrics,
)
from espnet_ext.report.reports import read_report, write_cards

jsonschema = pytest.importorskip("jsonschema")
KEPT = Path(__file__).parents[2] / "egs2/fsdd/mtl_asr1/results/seed0"


@pytest.fixture
def validator():
    return jsonschema.Draft202012Validator(card_schema())


@pytest.fixture
def card(attacked):
    directory, _ = attacked(audio=False)
    return read_report(directory).cards()[0]


def test_the_schema_is_one_and_says_which(validator):
    jsonschema.Draft202012Validator.check_schema(card_schema())
    assert card_schema()["$id"] == SCHEMA_ID == card_schema()["properties"]["schema"]["const"]
    assert SCHEMA_FILE.name == "card.schema.json"


def test_cards_of_every_kind_follow_the_schema(sweep, attacked, countermeasures, validator):
    for directory in (sweep, attacked(audio=False)[0], countermeasures):
        for card in read_report(directory).cards():
            validator.validate(json.loads(json.dumps(card, allow_nan=False)))


def test_the_kept_results_give_cards_with_their_numbers(tmp_path, validator):
    (first, *others) = write_cards([KEPT], tmp_path)
    card, results = read_json(first / "card.json"), read_json(KEPT / "results.json")
    assert len(others) == 15 and first.name == "la1_lc0_li0"
    validator.validate(card)
    last = results["conditions"][0]["attack"][-1]["adv_twer"]
    found = card["attacks"][-1]["metrics"]["adv_twer"]
    assert [found[k] for k in ("value", "low", "high")] == last
    assert "\n## Adversarial robustness of la1" in (first / "card.md").read_text()


def change(path: str, value: object):
    """A change of one field of a card; `value` ... takes it away."""

    def apply(card):
        *parents, last = path.split(".")
        for key in parents:
            card = card[int(key)] if isinstance(card, list) else card[key]
        if value is ...:
            del card[last]
        else:
            card[last] = value

    return apply


@pytest.mark.parametrize(
    "spoil",
    [
        change("commit", ...),
        change("not_tested", ...),
        change("definitions.interval", ...),
        change("attacks", []),
        change("schema", "2"),
        change("model.task", "chess"),
        change("model.files.weights", "abc"),
        change("attacks.0.access", "grey box"),
        change("attacks.0.metrics.wer.low", ...),
        change("attacks.0.metrics.wer.value", "5"),
        change("attacks.0.budget.kind", "norm"),
        change("clean.trials", {}),
        change("surprise", 1),
    ],
)
def test_what_is_no_card_is_refused_by_the_schema(card, validator, spoil):
    validator.validate(card)
    spoil(card)
    assert not validator.is_valid(card)


def test_two_models_of_one_name_are_refused(sweep, tmp_path):
    with pytest.raises(InputError, match="another card for 'la1_lc0_li0'; give each result an"):
        write_cards([sweep, sweep], tmp_path / "cards")
    assert not (tmp_path / "cards").exists()


def test_a_result_without_attack_has_no_card(attacked, tmp_path):
    directory, _ = attacked({("eps2", 0): [5] * 6}, audio=False)
    with pytest.raises(InputError, match="no attacked model in it, so there is no card"):
        write_cards([directory], tmp_path / "cards")


def test_results_of_another_version_are_refused(sweep, tmp_path):
    results = read_json(sweep / "results.json")
    del results["definitions"]
    write_json(sweep / "results.json", results)
    with pytest.raises(InputError, match="lacks 'definitions'; make the result again"):
        write_cards([sweep], tmp_path)


@pytest.mark.parametrize(
    ("model", "name"),
    [("la1.0_li0", "la1.0_li0"), ("../../a", "a"), ("..", "model"), ("a b/c", "a_b_c")],
)
def test_a_card_is_written_nowhere_else(model, name):
    assert directory_name(model) == name


@pytest.mark.parametrize(
    ("name", "unit"), [("wer", "percent"), ("loss", "points"), ("min_tdcf_2019", "none")]
)
def test_a_metric_has_its_interval_and_its_unit(name, unit):
    found = metrics({name: [1.0, None, 2.0]}, [name])
    assert found == {name: {"value": 1.0, "low": None, "high": 2.0, "unit": unit}}


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


def test_cards_begin_with_the_front_matter_of_hugging_face(sweep, countermeasures, tmp_path):
    """What `ModelCardData` and `EvalResult` of huggingface_hub ask for is there."""
    directories = write_cards([sweep, countermeasures], tmp_path / "cards", "apache-2.0", "FSDD")
    for directory in directories:
        card, text = read_json(directory / "card.json"), (directory / "card.md").read_text()
        start, front, rest = text.split("---\n", 2)
        data = yaml.safe_load(front)
        assert start == "" and {"Intended use", "Limits", "Licence"} <= {
            line.removeprefix("### ") for line in rest.splitlines()
        }
        assert data["license"] == "apache-2.0" and data["library_name"] == "espnet"
        assert all(isinstance(tag, str) for tag in data["tags"])
        (model,) = data["model-index"]
        assert model["name"] == card["model"]["name"]
        for result in model["results"]:
            assert result["task"]["type"] == data["pipeline_tag"]
            assert result["dataset"]["type"] and result["dataset"]["name"].startswith("FSDD, ")
            for metric in result["metrics"]:
                assert metric["type"] and isinstance(metric["value"], float)
        clean, *attacked = model["results"]
        measured = {metric["type"]: metric["value"] for metric in clean["metrics"]}
        assert measured == {
            name: metric["value"] for name, metric in card["clean"]["metrics"].items()
        }
        most = max(result["dataset"]["args"]["steps"] for result in attacked)
        assert most == max(a["steps"] or 0 for a in card["attacks"])
