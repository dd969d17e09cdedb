"""The fsdd recipe on a few strings of the real corpus, attacked in shards."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from recipes.recipe import TINY, copy_recipe, run, write_settings

from espnet_ext.data.configurations import read_with_base

pytestmark = pytest.mark.recipe

OPTIONS = (
    *("--local_data_opts", "--train_utts 12 --dev_utts 4 --test_utts 6"),
    *("--train_args", TINY, "--pretrain_args", "", "--num_attack_utts", "6"),
    *("--interval_unit", "speaker", "--attack_shards", "2"),
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = copy_recipe("fsdd/mtl_asr1", tmp_path_factory.mktemp("fsdd") / "mtl_asr1")
    write_settings(folder, ["1.0 1.0 1.0", "1.0 0.5 0.5"], "eps: [0.3]")
    return folder


def test_real_speech_from_the_corpus_to_the_report(recipe, shared_data):
    process = run(recipe, *OPTIONS, FSDD=str(shared_data / "fsdd"))
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    results = json.loads((recipe / "exp/report_attack_seed0/results.json").read_text())
    assert [c["heads"] for c in results["conditions"]] == ["STL CTC", "MTL CTC+decoder"]
    assert results["attacked_utterances"] == 6
    assert "of speakers" in results["definitions"]["interval"]
    text = (recipe / "data/test/text").read_text()
    targets = dict(
        line.split(maxsplit=1) for line in (recipe / "exp/targets/test_6").read_text().splitlines()
    )
    for line in text.splitlines():
        name, words = line.split(maxsplit=1)
        if name in targets:
            assert not set(words.split()) & set(targets[name].split())
            assert len(words.split()) == len(targets[name].split())


def test_a_packed_model_is_the_start_of_others(recipe):
    """The hybrid of the run before, packed as public models of ESPnet are."""
    _pack(recipe, "exp/pretrain_seed0")
    (recipe / "conf/sweep_one.yaml").write_text("conditions: [[0.7, 0.5, 0.5]]\n")
    options = (*OPTIONS, "--pretrained", "model.zip", "--expdir", "started", "--stage", "3")
    options += ("--sweep", "conf/sweep_one.yaml", "--train_config", "conf/train_tiny.yaml")
    _configure_tiny(recipe / "conf/train.yaml", recipe / "conf/train_tiny.yaml")
    process = run(recipe, *options, "--stop_stage", "6")
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    assert "Stage 5 is left out: all models start from started/pretrained" in process.stdout
    tokens = [recipe / folder / "tokens.txt" for folder in ("started/pretrained", _tokens(recipe))]
    assert tokens[0].read_text() == tokens[1].read_text()
    log = (recipe / "started/log/train_one_seed0/1.log").read_text()
    assert "Initialised from started/pretrained/model.pth" in log
    for part in ("encoder", "decoder", "ctc"):
        assert re.search(rf"^{part} +[1-9]\d* +0 +0$", log, re.MULTILINE), part
    assert re.search(r"^heads +0 +[1-9]\d* +0$", log, re.MULTILINE)
    assert (recipe / "started/la0.7_lc0.5_seed0/valid.loss.best.pth").is_file()


def _pack(recipe, folder):
    files = {"train_config": f"{folder}/config.yaml", "model_file": f"{folder}/latest.pth"}
    command = [sys.executable, "-m", "espnet2.bin.pack", "asr", "--outpath", "model.zip"]
    command += [f"--asr_{name}={path}" for name, path in files.items()]
    subprocess.run(command, cwd=recipe, check=True, capture_output=True)


def _tokens(recipe):
    return next((recipe / "data/token_list").iterdir())


def _configure_tiny(path, tiny):
    """A configuration with the options of `TINY` as keys."""
    config = read_with_base(path)
    words = TINY.split()
    for option, value in zip(words[::2], words[1::2], strict=True):
        key, _, text = value.rpartition("=")
        name, setting = option.removeprefix("--"), yaml.safe_load(text)
        config |= {name: {**config[name], key: setting} if key else setting}
    tiny.write_text(yaml.safe_dump(config))


def test_incomplete_corpus_is_refused_before_anything_is_made(recipe, tmp_path):
    (tmp_path / "recordings").mkdir()
    process = run(recipe, "--stop_stage", "1", "--expdir", "other", FSDD=str(tmp_path))
    assert process.returncode != 0
    assert "not the complete Free Spoken Digit Dataset" in process.stderr
    assert "FSDD in db.sh" in process.stderr


@pytest.fixture(scope="module")
def finished(recipe, shared_data):
    """The recipe with its first report."""
    if not (recipe / "exp/report_attack_seed0/results.json").exists():
        process = run(recipe, *OPTIONS, FSDD=str(shared_data / "fsdd"))
        assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return recipe


def report_of(recipe, name, *options):
    """The results of another sweep or attack on the same data."""
    process = run(recipe, *OPTIONS, *options)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return json.loads((recipe / f"exp/{name}/results.json").read_text())["conditions"]


def write_sweep(recipe, name, variants):
    """A sweep of conditions with their options, by condition, beside that of the first report."""
    conditions, options = [*variants], {c[3]: text for c, text in variants.items()}
    text = f"conditions: {[[*c] for c in conditions]}\nvariants: {options}\n"
    (recipe / f"conf/sweep_{name}.yaml").write_text(text.replace("'", ""))
    # Attacks in several parts are those of the first run and of two trainings of each model.
    others = ("--report_with", "exp/conditions_attack_seed0.tsv", "--attack_shards", "1")
    return ("--sweep", f"conf/sweep_{name}.yaml", *others)


def test_two_trainings_of_each_model_are_one_condition(finished):
    conditions = report_of(
        finished,
        "report_attack_seed0_1",
        "--stage",
        "5",
        "--seeds",
        "0 1",
        "--num_attack_utts",
        "6",
    )
    assert [c["training_seeds"] for c in conditions] == [[0, 1], [0, 1]]
    assert {e["utterances"] for c in conditions for e in c["attack"]} == {6}
    models = [finished / f"exp/la1.0_lc0.5_seed{seed}/valid.loss.best.pth" for seed in (0, 1)]
    assert models[0].read_bytes() != models[1].read_bytes()
    text = (finished / "exp/report_attack_seed0_1/RESULTS.md").read_text()
    assert "| MTL CTC+decoder | 2 |" in text


def test_entropy_of_ctc_and_a_head_on_random_labels_in_a_sweep(finished):
    variants = {
        (0.7, 0.5, 0.5, "random_head"): "{}",
        (1.0, 0.5, 0.5, "entropy0.3"): "{model_conf: {ctc_entropy_weight: 0.3}}",
    }
    # The hybrid that all start from, stage 5, is that of the accents: it has no use of heads.
    options = ("--heads", "random", *write_sweep(finished, "variants", variants))
    process = run(finished, *OPTIONS, *options, "--stage", "3", "--stop_stage", "4")
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    conditions = report_of(finished, "report_attack_variants_seed0", "--stage", "6", *options)
    assert [c["variant"] for c in conditions] == ["", "", "random_head", "entropy0.3"]
    assert conditions[2]["heads"] == "MTL CTC+decoder+classifier, random_head"
    assert "random_accuracy" in conditions[2]["benign"]
    model = finished / "exp/la1.0_lc0.5_entropy0.3_seed0"
    assert "ctc_entropy_weight: 0.3" in (model / "config.yaml").read_text()
    logs = (finished / "exp/log/train_variants_seed0").glob("*.log")
    assert any("ctc_entropy=" in log.read_text() for log in logs)
    text = (finished / "exp/report_attack_variants_seed0/RESULTS.md").read_text()
    assert "MTL CTC+decoder, entropy0.3" in text


def test_audio_made_on_one_model_is_heard_by_all(finished):
    source = "exp/la1.0_lc1.0_seed0/attack_li1.0"
    name = "report_from_la1.0_lc1.0_seed0_attack_li1.0_seed0"
    conditions = report_of(finished, name, "--stage", "9", "--transfer_from", source)
    own = json.loads((finished / "exp/report_attack_seed0/results.json").read_text())["conditions"]
    # The model that the audio was made on hears it as it did; sizes are those of its attack.
    assert [e["adv_twer"] for e in conditions[0]["attack"]] == [
        e["adv_twer"] for e in own[0]["attack"]
    ]
    assert [e["l2_median"] for e in conditions[1]["attack"]] == [
        e["l2_median"] for e in own[0]["attack"]
    ]


def test_a_mockingjay_as_front_end_is_attacked_through(finished):
    options = write_sweep(finished, "mockingjay", {(1.0, 0.5, 0.5, "mockingjay"): "{}"})
    options = (*options, "--train_config", "conf/train_mockingjay.yaml")
    options = ("--stage", "4", "--expdir", "exp/mockingjay", *options)
    conditions = report_of(finished, "mockingjay/report_attack_mockingjay_seed0", *options)
    assert conditions[2]["variant"] == "mockingjay"
    moved = [e for e in conditions[2]["attack"] if e["step"] > 0]
    assert all(e["l2_median"] > 0.0 and e["stalled_utterances"] == 0 for e in moved)
