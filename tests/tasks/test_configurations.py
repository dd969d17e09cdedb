"""Every training YAML of every recipe builds its model, and every attack YAML is read."""

from pathlib import Path

import pytest
import yaml
from tiny import TOKENS

from espnet_ext.attack.settings import AttackSettings
from espnet_ext.data.configurations import read_with_base
from espnet_ext.tasks.mtl_asr import MTLASRTask

ROOT = Path(__file__).resolve().parents[2]
TRAINING = sorted(ROOT.glob("egs2/*/mtl_asr1/conf/train*.yaml"))
ATTACKS = sorted(ROOT.glob("egs2/*/mtl_asr1/conf/attack*.yaml"))


def relative(path):
    return str(path.relative_to(ROOT / "egs2"))


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "accent.txt").write_text("gb\nus\n")
    (tmp_path / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    return tmp_path


@pytest.mark.parametrize("path", TRAINING, ids=relative)
def test_dry_run_builds_the_model_with_all_heads(path, labels):
    MTLASRTask.main(
        cmd=[
            *("--config", str(path), "--output_dir", str(labels / "out")),
            *("--dry_run", "true", "--iterator_type", "none"),
            *("--token_list", str(labels / "tokens.txt"), "--token_type", "word"),
            *("--model_conf", f"heads.accent={labels / 'accent.txt'}"),
            *("--model_conf", "asr_weight=0.7", "--use_amp", "false"),
            *(
                ("--frontend_conf", "whisper_model=tiny.en")
                if "whisper" in path.read_text()
                else ()
            ),
        ]
    )
    written = yaml.safe_load((labels / "out" / "config.yaml").read_text())
    assert written["model_conf"]["heads"] == {"accent": ["gb", "us"]}


@pytest.mark.parametrize("path", TRAINING + ATTACKS, ids=relative)
def test_every_key_is_explained_on_its_line(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        key, _, value = line.partition(":")
        # A mapping is explained by its keys, an item of a list by the list.
        if value.strip() and not line.lstrip().startswith(("#", "-")):
            assert "#" in value, f"{path}:{number}: {key.strip()} is not explained"


def test_paper_configuration_is_the_papers():
    path = ROOT / "egs2/TEMPLATE/mtl_asr1/conf/train_paper.yaml"
    conf = read_with_base(path)
    encoder, decoder = conf["encoder_conf"], conf["decoder_conf"]
    assert (encoder["num_blocks"], encoder["attention_heads"]) == (12, 8)
    assert (encoder["linear_units"], encoder["output_size"]) == (2048, 512)
    assert (decoder["num_blocks"], decoder["attention_heads"]) == (6, 8)
    assert decoder["linear_units"] == 2048
    assert (conf["optim_conf"]["lr"], conf["max_epoch"]) == (1e-3, 30)
    assert conf["best_model_criterion"] == [["valid", "loss", "min"]]
    attack = AttackSettings.read(path.with_name("attack_paper.yaml"), "asr")
    pgd = attack.methods["pgd"]
    assert (attack.run.norm, attack.run.eps, pgd.eps_step) == (2, (2.0,), 0.05)
    assert pgd.steps == (500, 1000, 1500, 2000)
    assert (pgd.start, pgd.best, attack.victim.goal) == ("clean", False, "transcript")


@pytest.mark.parametrize("path", ATTACKS, ids=relative)
def test_attack_configurations_are_read(path):
    assert AttackSettings.read(path, "asr").conditions()
