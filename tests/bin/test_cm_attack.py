"""The attack on countermeasures as `python -m` calls it."""

import sys

import pytest
import torch
import yaml
from tiny_cm import cm_config, cm_model, save_countermeasure, write_tones

from espnet_ext.bin import cm_attack
from espnet_ext.cm.scores import read_scores
from espnet_ext.data.files import read_json
from espnet_ext.errors import InputError

ATTACK = {"methods": ["pgd", "noise"], "eps": [0.2], "steps": 2, "batch_size": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two saved countermeasures and data."""
    folder = tmp_path_factory.mktemp("cm")
    write_tones(folder / "data", 6)
    for name, changes in (
        ("lcnn", {"encoder": "lcnn"}),
        ("median", {"encoder": "senet", "defense": "filter", "defense_conf": {"size": 3}}),
        ("louder", {"normalize": None}),
    ):
        save_countermeasure(cm_model(**changes), cm_config(**changes), folder / name)
    return folder


@pytest.fixture
def call(folder, monkeypatch, tmp_path):
    """Run the command; further options follow those that are required."""

    def call(*options, targets=("lcnn", "median"), attack=None):
        (tmp_path / "attack.yaml").write_text(yaml.safe_dump(attack or ATTACK))
        given = ["--source_config", folder / "lcnn/config.yaml"]
        given += ["--source_checkpoint", folder / "lcnn/model.pth"]
        for name in targets:
            files = f"{folder}/{name}/config.yaml,{folder}/{name}/model.pth"
            given += ["--target", f"{name}={files}"]
        given += ["--data_dir", folder / "data", "--config", tmp_path / "attack.yaml"]
        given += ["--output_dir", tmp_path / "attack", *options]
        monkeypatch.setattr(sys, "argv", ["cm_attack", *map(str, given)])
        cm_attack.main()
        return tmp_path / "attack"

    return call


def test_the_last_shard_writes_the_scores(call):
    output = call("--shard", "2/2")
    assert not (output / "results.json").exists()
    output = call("--shard", "1/2")
    results = read_json(output / "results.json")
    assert [c["method"] for c in results["conditions"]] == ["clean", "pgd", "noise"]
    assert results["environment"]
    for target in ("lcnn", "median"):
        for condition in ("clean", "pgd/eps0.2", "noise/eps0.2"):
            assert len(read_scores(output / target / condition / "scores.txt")) == 6
    identity = read_json(output / "attack.json")
    assert set(identity["models"]) == {"(source)", "lcnn", "median"}
    assert len(identity["models"]["lcnn"]["checkpoint"]["sha256"]) == 64


def test_other_weights_are_another_attack(call, folder):
    call(targets=("median",))
    path = folder / "median/model.pth"
    before = path.read_bytes()
    weights = torch.load(path, weights_only=True)
    weights["loss.linear.bias"] += 1.0
    torch.save(weights, path)
    try:
        with pytest.raises(InputError, match="different: models"):
            call(targets=("median",))
    finally:
        path.write_bytes(before)


def test_other_features_are_refused(call):
    with pytest.raises(InputError, match="target louder has other features"):
        call(targets=("lcnn", "louder"))


def test_a_bad_attack_is_told_before_models_are_loaded(call, monkeypatch):
    monkeypatch.setattr(cm_attack.cli, "open_model", None)
    with pytest.raises(InputError, match=r"attack.yaml: .*'epsilon'"):
        call(attack={**ATTACK, "epsilon": 1})
    with pytest.raises(InputError, match="--target lcnn stands twice"):
        call(targets=("lcnn", "lcnn"))


@pytest.mark.parametrize("text", ["", "a", "a=,b", "=b,c", "a=b,"])
def test_a_target_is_name_configuration_and_weights(text):
    with pytest.raises(cm_attack.argparse.ArgumentTypeError, match="NAME=CONFIG,CHECKPOINT"):
        cm_attack.target(text)
    assert cm_attack.target("a=b,c") == ("a", "b", "c")
    assert cm_attack.target("a=b") == ("a", "b", "b")
