"""The examples of CONTRIBUTING.md, written to files outside of the package and run."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import yaml
from promises import adapters
from tiny_cm import cm_config, cm_model, save_countermeasure, write_tones

from espnet_ext.attack import Budget
from espnet_ext.attack.run import AttackRun
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import Utterance
from espnet_ext.bin import asr_attack, cm_attack, report
from espnet_ext.data import model_files
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.data.kaldi import write_table
from espnet_ext.tasks import building
from espnet_ext.tasks.building import MODEL_KINDS
from espnet_ext.tasks.countermeasure import defense_choices
from espnet_ext.tasks.loading import load_model
from espnet_ext.victims.options import VICTIM_OPTIONS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder on the path of Python with the files of the page and the entry point."""
    for name, text in BLOCKS.items():
        (tmp_path / f"{name}.py").write_text(text)
    info = tmp_path / "of_somebody_else-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of_somebody_else\nVersion: 1.0\n")
    groups = re.findall(r'entry-points\."(\S+)"\]\n\s*(\w+) = "(\S+)"', PAGE)
    entries = (f"[{group}]\n{name} = {value}\n" for group, name, value in groups)
    (info / "entry_points.txt").write_text("".join(entries))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in BLOCKS:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["recognizer-hybrid", "features-filter", "waveforms-mockingjay"])
def test_an_attack_from_outside_keeps_its_budget_on_every_kind_of_model(outside, name):
    victim = adapters.make(name, outside, "cpu")
    for budget in victim.budgets:
        found = victim.attack(victim.items, "rfgsm", budget, share=0.3)
        shares = [
            victim.used(budget, *pair)
            for pair in zip([i.clean for i in victim.items], found.last, strict=True)
        ]
        assert 0.5 < max(shares) <= 1.0 and found.stalled == [0, 0, 0]
    usual = victim.attack(victim.items, "rfgsm", victim.budgets[0])
    alone = victim.attack(victim.items[:1], "rfgsm", victim.budgets[0])
    assert np.isclose(alone.last[0], usual.last[0], atol=1e-5).mean() > 0.99


def call(monkeypatch, command, *options):
    monkeypatch.setattr(sys, "argv", [command.__file__, *map(str, options)])
    command.main()


def test_an_attack_from_outside_is_in_results_and_report_of_both_commands(
    outside, monkeypatch, tmp_path
):
    speech = tmp_path / "speech"
    tones = write_tones(tmp_path / "tones", 4)
    for name, wave in zip("ab", tiny.noise(4000, 4500), strict=True):
        write_wav(speech / f"{name}.wav", wave, tiny.RATE)
    write_table(speech / "wav.scp", {n: str(speech / f"{n}.wav") for n in "ab"})
    for table in ("targets", "text"):
        write_table(speech / table, dict.fromkeys("ab", "one two"))
    settings = {"methods": ["rfgsm", "noise"], "eps": [0.2], "share": 0.3, "batch_size": 2}
    (tmp_path / "attack.yaml").write_text(yaml.safe_dump(settings))
    common = ("--config", tmp_path / "attack.yaml", "--output_dir")
    files = tiny.save_model(tiny.tiny_model(), tiny.tiny_config(), tmp_path / "asr")
    options = ["--asr_train_config", files[0], "--asr_model_file", files[1]]
    for table, option in (("wav.scp", "--wav_scp"), ("targets", "--targets"), ("text", "--text")):
        options += [option, speech / table]
    call(monkeypatch, asr_attack, *options, *common, tmp_path / "asr_attack")
    files = save_countermeasure(cm_model(), cm_config(), tmp_path / "cm")
    options = ["--source_config", files[0], "--source_checkpoint", files[1]]
    options += ["--target", f"itself={files[0]},{files[1]}", "--data_dir", tones]
    call(monkeypatch, cm_attack, *options, *common, tmp_path / "cm_attack")
    for name, rows in (("asr_attack", "scores"), ("cm_attack", "conditions")):
        results = read_json(tmp_path / name / "results.json")
        assert {"rfgsm", "noise"} <= {row["method"] for row in results[rows]}
        methods = {row["method"] for row in read_jsonl(tmp_path / name / "attack_log.jsonl")}
        assert methods == {"clean", "rfgsm", "noise"}
    page = tmp_path / "report.html"
    call(monkeypatch, report, tmp_path / "asr_attack", "--output", page)
    assert "rfgsm" in page.read_text()


def test_a_kind_of_model_from_outside_is_loaded_and_attacked_by_the_runner(outside, monkeypatch):
    # Nothing of the page is imported here: entry points lead to both files.
    monkeypatch.setattr(VICTIM_OPTIONS, "known", dict(VICTIM_OPTIONS.known))
    monkeypatch.setattr(MODEL_KINDS, "known", dict(MODEL_KINDS.known))
    monkeypatch.setattr(building, "KINDS", dict(building.KINDS))
    monkeypatch.setattr(model_files, "KINDS", building.KINDS)
    config = {"words": ["yes", "no"], "sample_rate": tiny.RATE}
    (outside / "model").mkdir()
    (outside / "model/config.yaml").write_text(yaml.safe_dump(config))
    weights = {"weight": torch.tensor([[0.1, -0.1], [-0.1, 0.1]])}
    torch.save(weights, outside / "model/valid.loss.best.pth")
    model = load_model(outside / "model")
    assert type(model).__name__ == "Loudness" and model.weight[0, 0] == 0.1
    assert model_files.model_kind(outside / "model") == "keywords"
    settings = {"methods": ["pgd", "fgsm", "noise", "rfgsm"], "snr": [20.0], "batch_size": 2}
    settings = AttackSettings.of("keywords", settings | {"steps": [1, 5]})
    victim = importlib.import_module("keywords").Keywords(model)
    utterances = []
    for name, wave in zip("abc", tiny.noise(4000, 3000, 3500), strict=True):
        write_wav(outside / f"{name}.wav", wave, tiny.RATE)
        labels = {"word": "yes"}
        utterances.append(Utterance(name, str(outside / f"{name}.wav"), len(wave), labels))
    run = AttackRun(victim, settings, utterances, outside / "out", {"model": {}})
    for shard in (2, 1):
        run.run(shard, 2)
    rows = run.collect()
    assert {row["method"] for row in rows} == {"clean", *settings.methods}
    loss = {m: sum(r["loss"] for r in rows if r["method"] == m) for m in ("noise", "pgd")}
    assert loss["pgd"] > loss["noise"]
    for row in rows:
        assert row["snr"] is None or row["snr"] >= 20.0
    kept = outside / "out/adversarial/pgd/snr20/step5/wav"
    assert all(len(read_audio(kept / f"{u.name}.wav")[0]) == u.samples for u in utterances)


def test_a_defence_from_outside_is_built_and_attacked(outside, monkeypatch, tmp_path):
    squash = importlib.import_module("squash").Squash
    classes = {**defense_choices.classes, "squash": squash}
    monkeypatch.setattr(defense_choices, "classes", classes)
    net = cm_model(defense="squash", defense_conf={"limit": 2.0}).eval()
    assert net.defense.limit == 2.0
    monkeypatch.setattr(
        adapters.Countermeasure, "kinds", {"squash": lambda: squash(adapters.DIMS, 2.0)}
    )
    victim = adapters.Features("squash", tmp_path, "cpu")
    for method in ("pgd", "upstream"):
        found = victim.attack(victim.items, method, Budget(np.inf, 0.5, "std"))
        clean = [item.clean for item in victim.items]
        strength = [victim.strength(victim.items, x, method).sum() for x in (found.last, clean)]
        assert strength[0] > strength[1] and found.stalled == [0, 0, 0]


def test_names_and_places_on_the_page_are_there():
    for path in re.findall(r"\b((?:espnet_ext|tests|tools|egs2)/[\w/.]+\.(?:py|csv|md))\b", PAGE):
        of_the_reader = path.rsplit("/", 1)[1].removesuffix(".py") in BLOCKS
        assert (ROOT / path).is_file() or of_the_reader, path
    for setup in re.findall(r"^(egs2/\S+/setup\.sh) ", PAGE, re.MULTILINE):
        done = subprocess.run([ROOT / setup, "--help"], capture_output=True, text=True)
        assert "egs2/" in done.stdout + done.stderr
