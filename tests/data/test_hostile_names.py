"""Names that others chose never lead out of a directory, whichever part of the project uses them.

One row per place where an id, a head, a model, a method or a budget becomes part of a path.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
from attack_rows import constant, log_rows
from tiny_cm import write_tones
from tiny_countermeasure import model
from tiny_mockingjay import save_checkpoint

from espnet_ext.attack import AttackRun, PyTorchCountermeasure
from espnet_ext.attack.replay import replay
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import read_trials, read_utterances
from espnet_ext.bin import ssl_evaluate
from espnet_ext.data.audio import write_wav
from espnet_ext.data.check import validate
from espnet_ext.data.files import write_json, write_jsonl
from espnet_ext.data.format import FormatOptions, format_directory
from espnet_ext.data.ids import file_of
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.data.operations import copy
from espnet_ext.errors import InputError
from espnet_ext.report.audio_samples import make_samples
from espnet_ext.report.card import directory_name
from espnet_ext.report.countermeasure_figures import countermeasure_pictures
from espnet_ext.report.countermeasure_run import read_models
from espnet_ext.tasks.mtl_asr import read_heads

LONG = "u" * 300
NAMES = [
    "../../outside", "/tmp/absolute-espnet-ext", "a\0b", "a\nb", ".hidden", "-rf", "..", ".",
    "a\\b", LONG, "a\u200bb", "a\u00a0b",
]  # fmt: skip
hostile = pytest.mark.parametrize("name", NAMES, ids=[repr(name)[:20] for name in NAMES])


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path):
    """Nothing is made beside the directory `work` of a test."""
    work = tmp_path / "a" / "b" / "work"
    work.mkdir(parents=True)
    yield work
    for folder, child in ((tmp_path, "a"), (tmp_path / "a", "b"), (tmp_path / "a" / "b", "work")):
        assert [path.name for path in folder.iterdir()] == [child]
    assert not list(Path("/tmp").glob("absolute-espnet-ext*"))


@pytest.fixture
def work(nothing_outside):
    return nothing_outside


def renamed(folder, name):
    """A data directory of tones in which one utterance, or one more, has another id."""
    data = write_tones(folder, 4)
    first = next(iter(read_table(data / "wav.scp")))
    for path in data.iterdir():
        if path.suffix == ".wav":
            continue
        text = path.read_text()
        path.write_text(text.replace(f"{first} ", f"{name} ", 1))
    return data


def written_by_hand(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} {value}\n" for key, value in rows.items()))


@hostile
def test_data_directories(work, name):
    data = renamed(work / "data", name)
    for act in (
        lambda: validate(data, text=False),
        lambda: format_directory(data, work / "dump", FormatOptions(8000)),
        lambda: copy(data, work / "copy", utt_prefix=f"{name}-"),
    ):
        with pytest.raises(InputError):
            act()
    assert not (work / "dump").exists() and not (work / "copy").exists()


@hostile
@pytest.mark.parametrize("space", ["features", "waveform"])
def test_kept_inputs_of_countermeasures(work, name, space):
    data = renamed(work / "data", name)
    source = PyTorchCountermeasure(model("lcnn"), space=space)
    settings = AttackSettings.of(
        "cm", {"methods": ["noise"], "eps": [0.1], "keep": True, "space": space, "unit": "raw"}
    )
    with pytest.raises(InputError):
        trials = read_trials(data, 8000)
        AttackRun(source, settings, trials, work / "out", {}, {"lcnn": source})
    assert not (work / "out").exists()


@hostile
def test_targets_of_countermeasures(work, name):
    source = PyTorchCountermeasure(model("lcnn"))
    settings = AttackSettings.of("cm", {"methods": ["noise"], "eps": [0.1]})
    trials = read_trials(write_tones(work / "data", 2), 8000)
    with pytest.raises(InputError, match="cannot be the name of a directory"):
        AttackRun(source, settings, trials, work / "out", {}, {name: source})
    for names in (["LCNN", "lcnn"], ["Log"], ["adversarial"]):
        with pytest.raises(InputError, match="cannot be the name of a directory"):
            AttackRun(source, settings, trials, work / "out", {}, dict.fromkeys(names, source))
    assert not (work / "out").exists()


@hostile
def test_adversarial_audio_of_recognizers(work, name):
    wave = 0.1 * np.random.default_rng(0).standard_normal(4000)
    write_wav(work / "a.wav", wave, 8000)
    written_by_hand(work / "wav.scp", {name: work / "a.wav"})
    written_by_hand(work / "targets", {name: "one"})
    with pytest.raises(InputError):
        listed = read_utterances(work / "wav.scp", work / "targets", None, 8000)
        AttackRun(None, AttackSettings.of("asr", {"eps": 1.0}), listed, work / "out", {})
    assert not (work / "out").exists()


@hostile
def test_pictures_of_reconstructions(work, name, monkeypatch):
    weights = save_checkpoint(work / "exp")
    data = renamed(work / "data", name)
    options = ["--ssl_train_config", str(weights.parent / "config.yaml")]
    options += ["--ssl_model_file", str(weights), "--data_dir", str(data)]
    monkeypatch.setattr(sys, "argv", ["x", *options, "--output_dir", str(work / "out")])
    with pytest.raises(InputError):
        ssl_evaluate.main()
    assert not (work / "out").exists()


@hostile
def test_classification_heads(name):
    with pytest.raises(InputError, match="model_conf heads"):
        read_heads({"heads": {name: ["gb", "us"]}})


@hostile
def test_logs_of_others(work, name):
    """The page leaves out the audio; a transfer refuses to read what a log names."""
    for changes in ({"utterance": name}, {"budget": name}):
        rows = [row | changes for row in log_rows(constant(1, 1))[:3]]
        (sample,) = make_samples(rows, work, {}, 1)
        assert not sample.clips
        source = work / "source"
        write_jsonl(source / "attack_log.jsonl", rows)
        about = {"model": {}, "ctc_weight": 0.5, "settings": {"targeted": True}}
        write_json(source / "attack.json", about)
        with pytest.raises(InputError):
            replay(_Listener(), source, source / "wav.scp", work / "out", {})
    assert not (work / "out").exists()


class _Listener:
    ctc_weight, sample_rate = 0.5, 8000


@hostile
def test_reports(work, name):
    """Pictures, lists of models and cards have names of methods and models in theirs."""
    cells = [{"method": name, "eps": 0.1}]
    layout = {"heat_map": {"method": name, "eps": 0.1}}
    results = {"layout": layout, "cells": cells, "panels": [], "histograms": 0, "lnsr": 0}
    results["attack"] = {}
    (picture,) = countermeasure_pictures(results)
    with contextlib.suppress(InputError):
        path = file_of(work, picture.name)
        assert path.parent == work and not {"..", "/"} & set(path.relative_to(work).parts)
    model = {"architecture": "lcnn", "variant": "mel", "config": "c.yaml"}
    write_json(work / "models", {name: model})
    with pytest.raises(InputError, match="cannot be the name of a model"):
        read_models(work / "models")
    with contextlib.suppress(InputError):
        assert file_of(work, directory_name(name)).parent == work


def test_ids_that_differ_in_case_alone_are_refused_together(work):
    data = write_tones(work / "data", 4)
    first = next(iter(read_table(data / "wav.scp")))
    for path in data.iterdir():
        if path.suffix != ".wav":
            table = read_table(path)
            if first in table:
                write_table(path, {**table, first.upper(): table[first]})
    with pytest.raises(InputError, match=f"{first}' .*in another case or Unicode form"):
        format_directory(data, work / "dump", FormatOptions(8000))
    assert [path.name for path in work.iterdir()] == ["data"]
