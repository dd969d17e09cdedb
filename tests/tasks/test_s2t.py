"""Models of the S2T task: what is asked of them, and how they are found."""

import sys

import numpy as np
import pytest
from espnet2.main_funcs.pack_funcs import pack
from promises.recognizers import random_model
from tiny import RATE, noise, save_model, tiny_config, tiny_model

from espnet_ext.asr.waveforms import like
from espnet_ext.bin import asr_attack, asr_inference
from espnet_ext.data.audio import write_wav
from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError
from espnet_ext.tasks.loading import ASR_KIND, load_model
from espnet_ext.victims.recognizer import PyTorchESPnet


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return random_model("s2t", tmp_path_factory.mktemp("s2t"))


def victim(files, goal="transcript", **options):
    return PyTorchESPnet(load_model(*files, ASR_KIND, options=options), goal=goal)


def test_language_and_task_are_those_of_the_prompt(files):
    x = like([], noise(4000))
    losses = {}
    for options in ({}, {"lang_sym": "<deu>"}, {"task_sym": "<st_eng>"}):
        asked = victim(files, **options)
        assert asked.recognizer.prompt == {"lang_sym": "<eng>", "task_sym": "<asr>"} | options
        losses[tuple(options)] = asked.compute_loss(x, ["one"])[0]
    assert len(set(losses.values())) == 3
    assert victim(files).ctc_weight == 0.0


def test_samples_behind_the_frame_are_not_heard(files):
    asked, wave = victim(files), noise(8000)[0]
    gradient = asked.loss_gradient(wave[None], ["one"])[0]
    assert not gradient[5600:].any() and gradient[:5600].all()


def test_what_is_no_text_is_neither_written_nor_a_target(files):
    text = victim(files).recognizer.text
    two, deu = (text.converter.token2id[token] for token in ("two", "<deu>"))
    assert text.decode([two, deu]) == "two"
    with pytest.raises(InputError, match=r"not in the model's vocabulary: .*<deu>"):
        text.encode("two <deu>")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"lang_sym": "<enh>"}, "lang_sym: <enh> is not a token; did you mean '?<eng>")],
)
def test_a_symbol_that_is_no_token_is_refused(files, options, message):
    with pytest.raises(InputError, match=message):
        victim(files, **options)


def test_a_prompt_is_refused_of_models_that_take_none(tmp_path):
    stock = save_model(tiny_model(), tiny_config(), tmp_path)
    with pytest.raises(InputError, match="lang_sym: this model takes no prompt"):
        victim(stock, lang_sym="<eng>")


def test_an_archive_is_a_model(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pack({"s2t_model_file": files[1]}, {"s2t_train_config": files[0]}, tmp_path / "packed.zip")
    expected = victim(files).recognizer.model.state_dict()
    for kind in (ASR_KIND, None):
        found = load_model(tmp_path / "packed.zip", kind=kind).model.state_dict()
        assert all(found[name].equal(value) for name, value in expected.items())


def call(monkeypatch, command, *options):
    monkeypatch.setattr(sys, "argv", [command.__file__, *map(str, options)])
    command.main()


@pytest.mark.parametrize("goal", ["transcript", "silence", "not_reference"])
def test_a_model_is_transcribed_attacked_and_scored_by_the_commands(
    files, tmp_path, monkeypatch, goal
):
    speech = tmp_path / "data"
    for name, wave in zip("ab", noise(3000, 4000), strict=True):
        write_wav(speech / f"{name}.wav", wave, RATE)
    write_table(speech / "wav.scp", {name: f"{speech}/{name}.wav" for name in "ab"})
    write_table(speech / "text", {"a": "one", "b": "two"})
    (tmp_path / "pgd.yaml").write_text(f"methods: [pgd]\nsteps: 2\neps: 1\ngoal: {goal}\n")
    model = ["--asr_train_config", files[0], "--asr_model_file", files[1], "--lang_sym", "<deu>"]
    call(
        *(monkeypatch, asr_attack, *model, "--wav_scp", speech / "wav.scp"),
        *("--targets", speech / "text", "--text", speech / "text"),
        *("--config", tmp_path / "pgd.yaml", "--output_dir", tmp_path / "out"),
    )
    rows = read_jsonl(tmp_path / "out" / "attack_log.jsonl")
    losses = {(row["method"], row["utterance"]): row["loss"] for row in rows}
    away = goal == "not_reference"
    assert all((losses["pgd", n] > losses["clean", n]) == away for n in "ab")
    assert read_json(tmp_path / "out" / "attack.json")["lang_sym"] == "<deu>"
    if goal == "transcript":
        call(
            *(monkeypatch, asr_inference, *model),
            *("--data_dir", speech, "--output_dir", tmp_path / "text"),
        )
        heard = {row["utterance"]: row["hypothesis"] for row in rows if row["method"] == "clean"}
        assert read_table(tmp_path / "text" / "text") == heard
        assert np.isfinite(list(losses.values())).all()
