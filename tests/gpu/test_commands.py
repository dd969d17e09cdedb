"""One epoch of each task with `--ngpu 1`, and the commands on what was trained."""

import sys

import numpy as np
import pytest
import torch
import yaml
from tiny import RATE, TOKENS, noise, tiny_config
from tiny_cm import cm_config, write_tones
from tiny_mockingjay import tiny_config as mockingjay_config

from espnet_ext.bin import (
    asr_attack,
    asr_inference,
    cm_attack,
    cm_inference,
    cm_lnsr,
    cm_probe,
    ssl_evaluate,
)
from espnet_ext.cm.scores import read_scores
from espnet_ext.data.audio import write_wav
from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.tasks.countermeasure import CountermeasureTask
from espnet_ext.tasks.mockingjay import MockingjayTask
from espnet_ext.tasks.mtl_asr import MTLASRTask

pytestmark = pytest.mark.gpu

TRAINING = {
    "optim": "adam",
    "optim_conf": {"lr": 0.001},
    "batch_type": "unsorted",
    "batch_size": 4,
    "max_epoch": 1,
    "num_workers": 0,
    "use_tensorboard": False,
    "use_matplotlib": False,
    "keep_nbest_models": 1,
}
HEADS = {"asr_weight": 0.7, "heads": {"accent": ["gb", "us"]}}
ATTACKS = {
    "asr": {"norm": 2, "snr": [25], "eps_step": 0.05, "steps": [1, 5], "batch_size": 2},
    "cm": {
        "methods": ["fgsm", "pgd", "noise", "apgd", "square"],
        "eps": [0.2],
        "steps": 3,
        "queries": 20,
        "batch_size": 4,
    },
    "lnsr": {"methods": ["pgd"], "eps": [0.2], "steps": 3, "batch_size": 4},
}
SAME_FEATURES = {
    key: mockingjay_config()[key] for key in ("frontend_conf", "normalize", "normalize_conf")
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Noise with transcripts and accents, tones with labels, attacks."""
    folder = tmp_path_factory.mktemp("data")
    names = [f"s{i % 2}-u{i}" for i in range(8)]
    for name, wave in zip(names, noise(*range(4000, 8000, 500)), strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    write_table(folder / "wav.scp", {n: str(folder / f"{n}.wav") for n in names})
    write_table(folder / "text", dict.fromkeys(names, "one two"))
    write_table(folder / "utt2accent", {n: ("gb", "us")[n[1] == "1"] for n in names})
    write_table(folder / "targets", dict.fromkeys(names[:5], "three four"))
    write_tones(folder / "tones", 12)
    for name, settings in ATTACKS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    return folder


def train(task, output, config, tables, ngpu):
    """One epoch; configuration and weights of the best."""
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump({**config, **TRAINING}))
    options = ["--config", path, "--output_dir", output, "--ngpu", ngpu]
    options += ["--multiprocessing_distributed", "true"]
    for part in ("train", "valid"):
        for table in tables:
            options += [f"--{part}_data_path_and_name_and_type", table]
        options += [f"--{part}_shape_file", tables[0].split(",")[0]]
    task.main(cmd=[str(option) for option in options])
    return output / "config.yaml", next(output.glob("valid.*.best.pth"))


@pytest.fixture(scope="module")
def recognizer(data, ngpu, tmp_path_factory):
    config = tiny_config(**{**HEADS})
    tables = [f"{data}/{t}" for t in ("wav.scp,speech,sound", "text,text,text")]
    tables.append(f"{data}/utt2accent,accent,text")
    return train(MTLASRTask, tmp_path_factory.mktemp("exp") / "asr", config, tables, ngpu)


@pytest.fixture(scope="module")
def mockingjay(data, ngpu, tmp_path_factory):
    output = tmp_path_factory.mktemp("exp") / "ssl"
    tables = [f"{data}/wav.scp,speech,sound"]
    return train(MockingjayTask, output, mockingjay_config(), tables, ngpu)


@pytest.fixture(scope="module")
def countermeasures(data, mockingjay, ngpu, tmp_path_factory):
    """An LCNN, and SENets behind a trained and a random Mockingjay."""
    folder = tmp_path_factory.mktemp("exp")
    tables = [f"{data}/tones/{t}" for t in ("wav.scp,speech,sound", "utt2label,label,text")]
    behind = {"encoder_conf": mockingjay_config()["encoder_conf"], "layer": "last"}
    configs = {"lcnn": cm_config("lcnn", cm_loss="asoftmax", **SAME_FEATURES)}
    for name, checkpoint in (("pretrained", str(mockingjay[1])), ("random", None)):
        conf = {**behind, "checkpoint": checkpoint}
        configs[name] = cm_config(**SAME_FEATURES, defense="mockingjay", defense_conf=conf)
    return {
        name: train(CountermeasureTask, folder / name, config, tables, ngpu)
        for name, config in configs.items()
    }


@pytest.fixture
def call(monkeypatch):
    """A command with its options, as `python -m` has it."""

    def call(command, *options):
        monkeypatch.setattr(sys, "argv", [command.__file__, *map(str, options)])
        command.main()

    return call


def files(prefix, model, names=("config", "checkpoint")):
    """Options that name a model: `--<prefix>_config` and `--<prefix>_checkpoint`."""
    return [x for n, path in zip(names, model, strict=True) for x in (f"--{prefix}_{n}", path)]


def test_tokens_are_those_of_the_recognizer(recognizer):
    assert yaml.safe_load(recognizer[0].read_text())["token_list"] == TOKENS


def test_checkpoints_of_the_gpu_are_read_on_a_cpu(recognizer, mockingjay, countermeasures):
    for _, weights in (recognizer, mockingjay, *countermeasures.values()):
        state = torch.load(weights, weights_only=True, map_location="cpu")
        assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())


@pytest.mark.parametrize("beam_size", [1, 2])
def test_transcripts_are_those_of_the_cpu(call, recognizer, data, tmp_path, ngpu, beam_size):
    for where in ("0", ngpu):
        options = ["--data_dir", data, "--output_dir", tmp_path / where, "--ngpu", where]
        options += [
            "--beam_size",
            beam_size,
            *files("asr", recognizer, ("train_config", "model_file")),
        ]
        call(asr_inference, *options)
    for table in ("text", "utt2accent"):
        assert read_table(tmp_path / ngpu / table) == read_table(tmp_path / "0" / table)


def test_attack_on_a_recognizer(call, recognizer, data, tmp_path, ngpu, record_property):
    scores = {}
    for where in ("0", ngpu):
        output = tmp_path / where
        options = ["--wav_scp", data / "wav.scp", "--targets", data / "targets", "--text"]
        options += [data / "text", "--config", data / "asr.yaml", "--output_dir", output]
        options += files("asr", recognizer, ("train_config", "model_file"))
        call(asr_attack, *options, "--ngpu", where)
        results = read_json(output / "results.json")
        scores[where] = results["scores"]
    if ngpu == "1":
        assert results["environment"]["device"] == torch.cuda.get_device_name()
    for here, there in zip(scores["0"], scores[ngpu], strict=True):
        assert there["adv_twer"] == pytest.approx(here["adv_twer"], abs=1e-6)
        assert there["l2_max"] == pytest.approx(here["l2_max"], rel=1e-3)


def test_scores_of_countermeasures_are_those_of_the_cpu(
    call, countermeasures, data, tmp_path, ngpu, record_property
):
    for name, model in countermeasures.items():
        found = {}
        for where in ("0", ngpu):
            output = tmp_path / f"{name}{where}.txt"
            options = ["--data_dir", data / "tones", "--output", output, "--ngpu", where]
            call(cm_inference, *files("cm", model, ("train_config", "model_file")), *options)
            found[where] = np.array([row.score for row in read_scores(output)])
        record_property(name, float(np.abs(found["0"] - found[ngpu]).max()))
        np.testing.assert_allclose(found[ngpu], found["0"], rtol=1e-4, atol=1e-5)


def test_attack_on_countermeasures(call, countermeasures, data, tmp_path, ngpu):
    for where in ("0", ngpu):
        options = files("source", countermeasures["lcnn"])
        for name, model in countermeasures.items():
            options += ["--target", f"{name}={model[0]},{model[1]}"]
        options += ["--data_dir", data / "tones", "--config", data / "cm.yaml"]
        call(cm_attack, *options, "--output_dir", tmp_path / where, "--ngpu", where)
    for name in countermeasures:
        for condition in ("clean", "fgsm/eps0.2", "pgd/eps0.2", "noise/eps0.2"):
            found, expected = (
                [r.score for r in read_scores(tmp_path / where / name / condition / "scores.txt")]
                for where in (ngpu, "0")
            )
            np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)
        for method in ("apgd", "square"):
            assert read_scores(tmp_path / ngpu / name / f"{method}/eps0.2/scores.txt")


@pytest.mark.parametrize("command", [cm_lnsr, cm_probe])
def test_layers_of_a_mockingjay(call, countermeasures, data, tmp_path, ngpu, command):
    options = []
    for name in ("pretrained", "random"):
        options += files(name, countermeasures[name])
    if command is cm_lnsr:
        options += [*files("source", countermeasures["lcnn"]), "--data_dir", data / "tones"]
        options += ["--config", data / "lnsr.yaml"]
    else:
        for part in cm_probe.SETS:
            options += [f"--{part}", data / "tones"]
    call(command, *options, "--output_dir", tmp_path, "--ngpu", ngpu)
    assert read_json(tmp_path / "results.json")


def test_reconstruction_errors_are_those_of_the_cpu(call, mockingjay, data, tmp_path, ngpu):
    found = {}
    for where in ("0", ngpu):
        options = files("ssl", mockingjay, ("train_config", "model_file"))
        options += ["--data_dir", data, "--output_dir", tmp_path / where, "--num_pictures", 1]
        call(ssl_evaluate, *options, "--ngpu", where)
        found[where] = read_json(tmp_path / where / "results.json")
    assert set(found[ngpu]) == set(found["0"])
