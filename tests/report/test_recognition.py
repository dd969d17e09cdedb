import dataclasses
import json

import pytest
from attack_rows import constant, scored

from espnet_ext.data.files import write_json
from espnet_ext.errors import InputError
from espnet_ext.report.recognition import attack_rows
from espnet_ext.report.table import by_setting, difference


def scores(results: dict, number: int, key: str = "adv_twer") -> list[float]:
    return [entry[key][0] for entry in results["conditions"][number]["attack"]]


def change(path, **changes) -> None:
    """Change fields of every row of a log."""
    rows = [json.loads(line) | changes for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_scores_and_differences_worked_by_hand(three, results):
    found = results(three)
    assert [scores(found, n) for n in range(3)] == [[100, 60, 40], [100, 40, 80], [100, 50, 10]]
    differences = [scores(found, n, "difference") for n in range(3)]
    assert differences == [[0, 0, 0], [0, -20, 40], [0, -10, -30]]


def test_a_difference_that_is_the_same_everywhere_is_certain(three, results):
    second = results(three)["conditions"][1]["attack"]
    assert second[1]["difference"] == [-20, -20, -20]
    assert second[2]["difference"] == [40, 40, 40]


def test_results_say_what_was_compared_and_how(three, results):
    found = results(three)
    assert found["baseline"] == [1.0, 0.0, 0.0]
    assert found["attacked_utterances"] == 6
    assert found["attack"]["steps"] == [5, 10]
    assert found["environment"] == {"commit": "0123456789ab"}
    assert "paired" in found["definitions"]["difference"]
    heads = [condition["heads"] for condition in found["conditions"]]
    assert heads == ["STL decoder", "MTL CTC+decoder", "MTL decoder+classifier"]
    assert found["conditions"][2]["benign"]["accent_accuracy"][0] == 75.0
    assert found["conditions"][2]["benign"]["wer"][0] == 12.5


def test_the_baseline_need_not_come_first(three, results):
    found = results(three[::-1])
    assert found["baseline"] == [1.0, 0.0, 0.0]
    assert scores(found, 0, "difference") == [0, -10, -30]


def test_results_hold_no_nan(three, results):
    def refuse(name: str):
        raise AssertionError(f"{name} in results.json")

    json.loads(json.dumps(results(three)), parse_constant=refuse)


def test_results_are_the_same_every_time(three, results):
    assert results(three) == results(three)


def test_the_unit_of_the_intervals_reaches_the_results(three, results):
    found = results(three), results(three, by_speaker=True)
    for unit, one in zip(("utterance", "speaker"), found, strict=True):
        assert f"resamples of {unit}s" in one["definitions"]["interval"]
    wide, narrow = (one["conditions"][2]["attack"][1]["difference"] for one in found)
    assert wide[0] == narrow[0] == -10
    assert narrow[2] - narrow[1] < wide[2] - wide[1]


@pytest.mark.parametrize("key", ["settings", "utterances"])
def test_conditions_attacked_in_another_way_are_refused(three, results, key):
    path = three[1].attack_dir / "attack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: {"count": 6}}))
    with pytest.raises(InputError, match=f"attack_li0.5: attacked with other {key} .*repeat"):
        results(three)


@pytest.mark.parametrize("changes", [{"target": "not this"}, {"utterance": "u9"}])
def test_logs_of_other_targets_or_utterances_are_refused(three, results, changes):
    change(three[1].attack_dir / "attack_log.jsonl", **changes)
    with pytest.raises(InputError, match=r"eps2, 0 steps: (.*of different|no row of u0)"):
        results(three)


def test_a_log_that_is_not_complete_is_refused(three, results):
    log = three[1].attack_dir / "attack_log.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:-1]))
    with pytest.raises(InputError, match="eps2, 10 steps: no row of u5"):
        results(three)


@pytest.mark.parametrize("name", ["attack_log.jsonl", "attack.json", "text"])
def test_a_missing_file_is_named(three, results, name):
    for directory in (three[2].attack_dir, three[2].decode_dir):
        (directory / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match=rf"la0\.7_lc0\.0_seed0/.*{name}: no such file"):
        results(three)


def test_models_may_differ(three, results):
    path = three[1].attack_dir / "attack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ctc_weight": 0.5, "model": {}}))
    assert len(results(three)["conditions"]) == 3


def test_a_paired_difference_needs_the_same_pairs(three):
    logs = [
        [json.loads(line) for line in (c.attack_dir / "attack_log.jsonl").read_text().splitlines()]
        for c in three
    ]
    first, second = (by_setting(attack_rows(log))["pgd", "eps2", 10] for log in logs[:2])
    assert difference(second, first, "adv_twer")[0] == 40
    assert difference(second[::-1], first, "adv_twer")[0] == 40
    with pytest.raises(InputError, match="different utterances"):
        difference(second[3:], first, "adv_twer")


@pytest.fixture
def seeds(add):
    """Two trainings of the baseline and of another model, and one more of that one."""
    return [
        add((1.0, 0.0, 0.0), constant(3, 2)),
        add((1.0, 0.5, 0.5), constant(2, 4)),
        add((1.0, 0.0, 0.0), constant(5, 2), seed=1, misheard=3),
        add((1.0, 0.5, 0.5), constant(0, 4), seed=1),
        add((1.0, 0.5, 0.5), constant(4, 0), seed=2),
    ]


def test_models_that_differ_in_the_training_seed_are_one_condition(seeds, results):
    found = results(seeds)
    assert [c["training_seeds"] for c in found["conditions"]] == [[0, 1], [0, 1, 2]]
    assert scores(found, 0) == [100, 80, 40]
    assert scores(found, 1) == [100, pytest.approx(40), pytest.approx(160 / 3)]
    assert found["conditions"][0]["benign"]["wer"][0] == 25.0
    assert {e["utterances"] for c in found["conditions"] for e in c["attack"]} == {6}
    assert "of training seeds" in found["definitions"]["interval"]


def test_a_difference_pairs_the_seeds_that_both_have(seeds, results):
    found = results(seeds)["conditions"][1]["attack"]
    # 40 less 60 and 0 less 100, of seeds 0 and 1; seed 2 has no baseline.
    assert found[1]["difference"] == [-60, -100, -20]
    assert found[2]["difference"] == [40, 40, 40]
    with pytest.raises(InputError, match="no training seed in common"):
        results([seeds[0], seeds[3]])


def test_one_seed_has_the_numbers_that_its_attack_has(three, results):
    (condition,) = results(three[2:])["conditions"]
    rows = (three[2].attack_dir / "attack_log.jsonl").read_text().splitlines()
    alone = scored([json.loads(row) for row in rows])
    for pooled, own in zip(condition["attack"], json.loads(json.dumps(alone)), strict=True):
        assert pooled.pop("p", {}).items() >= own.pop("p", {}).items()
        assert {**pooled, **own} == pooled


def test_a_condition_twice_with_one_seed_is_refused(three, seeds, results):
    moved = dataclasses.replace(seeds[1], attack_dir=seeds[2].attack_dir)
    with pytest.raises(InputError, match="same condition and training seed; leave one"):
        results([*three, moved])
    nameless = dataclasses.replace(seeds[1], model_dir=seeds[1].model_dir.with_name("model"))
    with pytest.raises(InputError, match="same condition and training seed; leave one"):
        results([*three, nameless])
    assert results([*three, *three]) == results(three)


def test_the_commits_of_the_attacks_are_kept(three, results):
    assert results(three)["attack_commits"] == []
    for condition, commit in zip(three, ("b", "a", "b"), strict=True):
        write_json(condition.attack_dir / "results.json", {"environment": {"commit": commit}})
    assert results(three)["attack_commits"] == ["a", "b"]
