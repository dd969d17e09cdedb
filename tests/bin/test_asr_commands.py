"""The commands on a tiny saved model, called as `python -m` calls them."""

import json
import shutil
import sys

import pytest
from tiny import RATE, noise, save_model, task_arguments, tiny_config

from espnet_ext.bin import asr_attack, asr_inference, asr_transfer, export_stock
from espnet_ext.data.audio import write_wav
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError
from espnet_ext.tasks.mtl_asr import MTLASRTask

ATTACK = "norm: 2\nsnr: [25]\neps_step: 0.05\nsteps: [1, 2]\nbatch_size: 2\n"


@pytest.fixture(scope="module", params=["mtl_asr", "espnet"])
def model(request, tmp_path_factory):
    """A model of this project, and a stock one."""
    config = {**tiny_config(), "model": request.param}
    if request.param == "mtl_asr":
        config["model_conf"] |= {"asr_weight": 0.7, "heads": {"accent": ["gb", "us"]}}
    built = MTLASRTask.build_model(task_arguments(config))
    return save_model(built, config, tmp_path_factory.mktemp("exp"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    names = ["a-1", "a-2", "b-1"]
    for name, wave in zip(names, noise(5000, 4000, 4500), strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    write_table(folder / "wav.scp", {n: str(folder / f"{n}.wav") for n in names})
    write_table(folder / "text", dict.fromkeys(names, "one two"))
    write_table(folder / "utt2spk", {n: n[0] for n in names})
    write_table(folder / "utt2accent", {"a-1": "gb", "a-2": "unknown", "b-1": "us"})
    write_table(folder / "targets", dict.fromkeys(names, "three four"))
    (folder / "attack.yaml").write_text(ATTACK)
    return folder


def call(monkeypatch, command, model, *options):
    files = ("--asr_train_config", str(model[0]), "--asr_model_file", str(model[1]))
    monkeypatch.setattr(sys, "argv", [command.__file__, *files, *map(str, options)])
    command.main()


def attack_options(data, output):
    return (
        *("--wav_scp", data / "wav.scp", "--targets", data / "targets", "--text", data / "text"),
        *("--config", data / "attack.yaml", "--output_dir", output),
    )


def test_attack_writes_audio_log_and_scores(monkeypatch, model, data, tmp_path):
    options = attack_options(data, tmp_path)
    call(
        monkeypatch,
        asr_attack,
        model,
        *options,
        "--also_beam",
        1,
        3,
        "--also_codec",
        "pcm16",
        "gsm",
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert [s["step"] for s in results["scores"]] == [0, 1, 2]
    assert all(s["utterances"] == 3 for s in results["scores"])
    assert results["scores"][2]["snr_min"] >= 25.0
    assert set(results["scores"][0]) >= {"adv_twer", "wer", "success_rate", "l2_max", "linf_max"}
    assert [*results["scores"][2]["heard_by"]] == ["beam1", "beam3", "pcm16", "gsm"]
    assert results["padding_error"] < 1e-4 and results["training_seed"] == 0
    assert len((tmp_path / "attack_log.jsonl").read_text().splitlines()) == 9
    kept = tmp_path / "adversarial/pgd/snr25/step2/wav.scp"
    assert set(read_table(kept)) == {
        "a-1",
        "a-2",
        "b-1",
    }


def test_audio_of_an_attack_is_heard_by_another_model(monkeypatch, model, data, tmp_path):
    call(monkeypatch, asr_attack, model, *attack_options(data, tmp_path / "source"))
    options = ("--wav_scp", data / "wav.scp", "--attack_dir", tmp_path / "source")
    options = (*options, "--ctc_weight", 0.0, "--output_dir", tmp_path / "heard")
    options = (*options, "--utt2spk", data / "utt2spk", "--also_beam", 1)
    call(monkeypatch, asr_transfer, model, *options)
    results = json.loads((tmp_path / "heard/results.json").read_text())
    assert [s["step"] for s in results["scores"]] == [0, 1, 2]
    assert "speakers" in results["definitions"]["interval"]
    # The decoder alone hears what the search of ESPnet hears with a beam of 1.
    heard = [score["heard_by"]["beam1"] for score in results["scores"]]
    assert [found["otherwise"] for found in heard] == [[0.0] * 3] * 3
    about = json.loads((tmp_path / "heard/attack.json").read_text())
    assert (about["ctc_weight"], about["made_on"]["ctc_weight"]) == (0.0, 0.5)
    assert len(about["model"]["weights"]["sha256"]) == 64


def test_last_of_the_shards_writes_the_scores(monkeypatch, model, data, tmp_path):
    options = attack_options(data, tmp_path)
    call(monkeypatch, asr_attack, model, *options, "--shard", "2/2")
    assert not (tmp_path / "results.json").exists()
    call(monkeypatch, asr_attack, model, *options, "--shard", "1/2", "--utt2spk", data / "utt2spk")
    assert (
        "speakers" in json.loads((tmp_path / "results.json").read_text())["definitions"]["interval"]
    )


def test_transcripts_are_written_and_scored(monkeypatch, model, data, tmp_path):
    options = ("--data_dir", data, "--output_dir", tmp_path, "--by_speaker", "true")
    call(monkeypatch, asr_inference, model, *options)
    scores = json.loads((tmp_path / "results.json").read_text())["scores"]
    assert scores["utterances"] == 3
    assert len(scores["wer"]) == 3
    has_heads = "accent" in model[0].read_text()
    assert (tmp_path / "utt2accent").exists() == has_heads
    assert ("accent_accuracy" in scores) == has_heads
    assert len((tmp_path / "text").read_text().splitlines()) == 3


def test_single_keys_of_the_attack_are_changed(monkeypatch, model, data, tmp_path):
    options = attack_options(data, tmp_path)
    call(
        monkeypatch, asr_attack, model, *options, "--set", "steps=[1]", "--set", "eps=1.0", "snr=[]"
    )
    scores = json.loads((tmp_path / "results.json").read_text())["scores"]
    assert [(s["budget"], s["step"]) for s in scores] == [("eps1", 0), ("eps1", 1)]


def test_the_worst_case_transfers_from_another_recognizer(monkeypatch, model, data, tmp_path):
    surrogate = ("--surrogate_config", model[0], "--surrogate_checkpoint", model[1])
    options = (*attack_options(data, tmp_path), *surrogate)
    with pytest.raises(InputError, match="worst"):
        call(monkeypatch, asr_attack, model, *options)
    call(monkeypatch, asr_attack, model, *options, "--worst", "--set", "worst_steps=2", "guesses=1")
    about = json.loads((tmp_path / "attack.json").read_text())
    assert about["surrogate"]["weights"] == about["model"]["weights"]
    scores = json.loads((tmp_path / "results.json").read_text())["scores"]
    assert {s["method"] for s in scores if s["step"] > 0} == {"worst", "noise"}


@pytest.mark.parametrize(
    "heard", [" one  two ", "", "one\u00a0two", "a\tb\nc", "x\u200b\x00\u2028y"]
)
def test_whatever_a_model_writes_is_written(monkeypatch, model, data, tmp_path, heard):
    monkeypatch.setattr("espnet_ext.asr.text.TextEncoder.decode", lambda *_: heard)
    call(monkeypatch, asr_inference, model, "--data_dir", data, "--output_dir", tmp_path)
    expected = " ".join(heard.replace("\u200b", "").replace("\x00", "").split())
    found = read_table(tmp_path / "text", allow_empty=True)
    assert found == dict.fromkeys(("a-1", "a-2", "b-1"), expected)
    scores = json.loads((tmp_path / "results.json").read_text())["scores"]
    assert (scores["wer"][0] == 0.0) == (expected == "one two")
    call(monkeypatch, asr_attack, model, *attack_options(data, tmp_path / "attack"))
    rows = (tmp_path / "attack" / "attack_log.jsonl").read_text().splitlines()
    assert {json.loads(row)["hypothesis"] for row in rows} == {heard}


@pytest.mark.parametrize("command", [asr_attack, asr_inference])
def test_an_output_that_cannot_be_written_is_refused_first(
    monkeypatch, model, data, tmp_path, command
):
    (tmp_path / "out").write_text("mine")
    options = attack_options(data, tmp_path / "out")
    if command is asr_inference:
        options = ("--data_dir", data, "--output_dir", tmp_path / "out")
    with pytest.raises(InputError, match="out: is no directory"):
        call(monkeypatch, command, model, *options)
    assert (tmp_path / "out").read_text() == "mine"


def test_speakers_that_are_missing_are_named_first(monkeypatch, model, data, tmp_path):
    write_table(tmp_path / "utt2spk", {"a-1": "a", "b-1": "b"})
    options = (*attack_options(data, tmp_path / "out"), "--utt2spk", tmp_path / "utt2spk")
    with pytest.raises(InputError, match=r"(?s)no speaker of.*utterance a-2"):
        call(monkeypatch, asr_attack, model, *options)
    assert not (tmp_path / "out").exists()


def test_references_that_are_missing_are_named_before_decoding(monkeypatch, model, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    write_table(tmp_path / "data" / "text", {"a-1": "one", "b-1": "two"})
    options = ("--data_dir", tmp_path / "data", "--output_dir", tmp_path / "out")
    with pytest.raises(InputError, match=r"(?s)no transcript of.*utterance a-2"):
        call(monkeypatch, asr_inference, model, *options)
    assert not (tmp_path / "out").exists()


def test_export_says_how_to_decode(monkeypatch, model, tmp_path, capsys):
    call(monkeypatch, export_stock, model, "--output_dir", tmp_path)
    assert "espnet2.bin.asr_inference" in capsys.readouterr().out
    assert (tmp_path / "model.pth").is_file()


def test_bad_attack_stops_before_anything_is_written(monkeypatch, model, data, tmp_path):
    write_table(tmp_path / "targets", {"a-1": "lorem ipsum"})
    options = [*attack_options(data, tmp_path / "out")]
    options[options.index(data / "targets")] = tmp_path / "targets"
    with pytest.raises(InputError, match="lorem, ipsum"):
        call(monkeypatch, asr_attack, model, *options)
    assert not list((tmp_path / "out").rglob("*.wav"))
