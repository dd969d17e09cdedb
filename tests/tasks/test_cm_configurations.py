"""Every YAML of the countermeasure recipes builds its model or is read as an attack."""

from pathlib import Path

import pytest
import yaml

from espnet_ext.attack.settings import AttackSettings
from espnet_ext.data.configurations import read_with_base
from espnet_ext.data.recipe_lists import read_model_list
from espnet_ext.report.countermeasure_run import read_models
from espnet_ext.tasks.countermeasure import CountermeasureTask, encoder_choices
from espnet_ext.tasks.mockingjay import MockingjayTask

ROOT = Path(__file__).resolve().parents[2]
CM = sorted(p for p in ROOT.glob("egs2/*/cm1/conf/train_*.yaml") if p.name != "train_ssl.yaml")
SSL = sorted([*ROOT.glob("egs2/*/cm1/conf/train_ssl.yaml"), *ROOT.glob("egs2/*/ssl1/conf/*.yaml")])
ATTACKS = sorted(ROOT.glob("egs2/*/cm1/conf/attack*.yaml"))
MODELS = sorted(ROOT.glob("egs2/*/cm1/conf/models*.yaml"))


def relative(path):
    return str(path.relative_to(ROOT / "egs2"))


def dry_run(task, path, output):
    task.main(
        cmd=[
            *("--config", str(path), "--output_dir", str(output)),
            *("--dry_run", "true", "--iterator_type", "none"),
        ]
    )
    return yaml.safe_load((output / "config.yaml").read_text())


def test_there_are_configurations():
    assert len(CM) >= 10 and len(SSL) >= 6 and len(ATTACKS) >= 7 and len(MODELS) >= 4


@pytest.mark.parametrize("path", CM, ids=relative)
def test_countermeasure_is_built(path, tmp_path):
    written = dry_run(CountermeasureTask, path, tmp_path)
    assert written["encoder"] in encoder_choices.classes
    assert written["best_model_criterion"] == [["valid", "cross_entropy", "min"]]


@pytest.mark.parametrize("path", SSL, ids=relative)
def test_mockingjay_is_built(path, tmp_path):
    written = dry_run(MockingjayTask, path, tmp_path)
    # The rate must not fall to zero before the training ends, nor stay high.
    steps = written["max_epoch"] * written["num_iters_per_epoch"]
    assert written["scheduler_conf"]["total_steps"] == steps


@pytest.mark.parametrize("path", ATTACKS, ids=relative)
def test_attack_is_read(path):
    settings = AttackSettings.read(path, "cm")
    assert "noise" in settings.methods  # no attack without its control


@pytest.mark.parametrize("path", MODELS, ids=relative)
def test_lists_name_configurations_and_bases_that_exist(path, monkeypatch):
    monkeypatch.chdir(path.parent.parent)
    assert [line.name for line in read_model_list(path)] == [m.name for m in read_models(path)]


@pytest.mark.parametrize("path", [*CM, *SSL, *ATTACKS], ids=relative)
def test_every_key_is_explained_on_its_line(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        key, _, value = line.partition(":")
        # A mapping is explained by its keys.
        if value.strip() and not line.lstrip().startswith("#"):
            assert "#" in value, f"{path}:{number}: {key.strip()} is not explained"


def test_paper_configurations_are_the_papers():
    conf = ROOT / "egs2/asvspoof2019/cm1/conf"
    lcnn = read_with_base(conf / "train_lcnn_paper.yaml")
    assert lcnn["encoder_conf"]["channels"] == [32, 48, 64, 32, 32, 80]
    assert (lcnn["encoder_conf"]["dropout_rate"], lcnn["segment_conf"]["num_frames"]) == (0.75, 600)
    assert (lcnn["cm_loss"], lcnn["cm_loss_conf"]["margin"], lcnn["batch_size"]) == (
        *("asoftmax", 4),
        16,
    )
    senet = read_with_base(conf / "train_senet_paper.yaml")
    assert (senet["encoder_conf"]["layers"], senet["batch_size"]) == ([1, 2, 3, 1], 64)
    aasist = read_with_base(conf / "train_aasist_paper.yaml")
    assert (aasist["segment_conf"]["num_frames"], aasist["batch_size"]) == (21490, 24)
    rawnet2 = read_with_base(conf / "train_rawnet2_paper.yaml")
    assert (rawnet2["segment_conf"]["num_frames"], rawnet2["batch_size"]) == (21490, 32)
    attack = AttackSettings.read(conf / "attack_paper.yaml", "cm")
    assert attack.run.eps == (0.1, 1.0, 2.0, 4.0, 8.0, 16.0) and attack.victim.train_mode
    pgd = attack.methods["pgd"]
    assert (pgd.steps, pgd.alpha, pgd.restarts) == ((10,), 0.1, 5)
    large = read_with_base(ROOT / "egs2/librispeech/ssl1/conf/train_large.yaml")
    encoder = large["encoder_conf"]
    assert (encoder["num_layers"], encoder["hidden_size"], encoder["downsample"]) == (12, 768, 3)
    assert (large["optim_conf"]["lr"], large["scheduler_conf"]["total_steps"]) == (4e-4, 500000)
