"""Adversarial audio of one model heard by another."""

import json
import shutil

import pytest
from espnet_ext.attack.runner import AttackRun, listen
from tiny import RATE, noise, tiny_recognizer

from espnet_ext.attack import PyTorchESPnet
from espnet_ext.attack.replay import OF_THE_SOURCE, replay
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.attack.utterances import read_utterances
from espnet_ext.data.audio import read_audio, write_wav
from espnet_ext.data.files import read_json, read_jsonl, write_json, write_jsonl
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError

TARGETS = {"a1": "one two", "a2": "three", "b1": "four"}
SETTINGS = AttackSettings(eps=(0.2,), snr=(30.0,), steps=(2, 4), batch_size=2)


@pytest.fixture(scope="module")
def other():
    return PyTorchESPnet(tiny_recognizer(seed=2), 0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, wave in zip(TARGETS, noise(6000, 4000, 5900), strict=True):
        write_wav(folder / f"{name}.wav", wave, RATE)
    write_table(folder / "wav.scp", {name: str(folder / f"{name}.wav") for name in TARGETS})
    write_table(folder / "text", dict.fromkeys(TARGETS, "nine"))
    write_table(folder / "targets", TARGETS)
    return folder


@pytest.fixture(scope="module")
def attacked(data, tmp_path_factory):
    """A finished attack on a model."""
    output = tmp_path_factory.mktemp("attack")
    estimator = PyTorchESPnet(tiny_recognizer(seed=1), 0.5)
    utterances = read_utterances(data / "wav.scp", data / "targets", data / "text", RATE)
    run = AttackRun(estimator, SETTINGS, utterances, output, {"weights": "source"})
    run.run()
    run.collect()
    return output


def played(other, attacked, data, output):
    return replay(other, attacked, data / "wav.scp", output, {"weights": "other"}, batch_size=2)


def test_hypotheses_are_those_of_the_model_that_listens(other, attacked, data, tmp_path):
    rows = played(other, attacked, data, tmp_path)
    assert len(rows) == 3 * 2 * 3
    for row in rows:
        folder = attacked / row["budget"] / f"step{row['step']}"
        paths = read_table(folder / "wav.scp" if row["step"] else data / "wav.scp")
        wave = read_audio(paths[row["utterance"]], sample_rate=RATE, utterance="")[0]
        (expected,) = listen(other, [wave], [row["target"]])
        assert row["hypothesis"] == expected["hypothesis"]
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-3)
        assert "loss_ctc" not in row  # it decodes without CTC


def test_everything_else_is_that_of_the_attack(other, attacked, data, tmp_path):
    played(other, attacked, data, tmp_path)

    def kept(directory):
        rows = read_jsonl(directory / "attack_log.jsonl")
        rows = [{k: v for k, v in row.items() if k not in OF_THE_SOURCE} for row in rows]
        return sorted(rows, key=lambda r: (r["budget"], r["step"], r["utterance"]))

    assert kept(tmp_path) == kept(attacked)
    about, before = read_json(tmp_path / "attack.json"), read_json(attacked / "attack.json")
    assert (about["settings"], about["utterances"]) == (before["settings"], before["utterances"])
    assert (about["model"], about["ctc_weight"]) == ({"weights": "other"}, 0.0)
    assert about["made_on"] == {"model": {"weights": "source"}, "ctc_weight": 0.5}


def test_a_model_hears_its_own_attack_as_it_did(attacked, data, tmp_path):
    same = PyTorchESPnet(tiny_recognizer(seed=1), 0.5)
    found = {
        (r["utterance"], r["budget"], r["step"]): r for r in played(same, attacked, data, tmp_path)
    }
    for row in read_jsonl(attacked / "attack_log.jsonl"):
        again = found[row["utterance"], row["budget"], row["step"]]
        assert again["hypothesis"] == row["hypothesis"]
        assert again["loss"] == pytest.approx(row["loss"], rel=1e-3)


def test_results_of_something_else_are_not_overwritten(other, attacked, data, tmp_path):
    before = (attacked / "attack_log.jsonl").read_bytes()
    with pytest.raises(InputError, match="holds the results of another attack"):
        played(other, attacked, data, attacked)
    assert (attacked / "attack_log.jsonl").read_bytes() == before
    played(other, attacked, data, tmp_path)
    played(other, attacked, data, tmp_path)
    with pytest.raises(InputError, match="holds the results of another attack"):
        replay(other, attacked, data / "wav.scp", tmp_path, {"weights": "third"})


def test_an_attack_that_is_not_finished_is_refused(other, data, tmp_path):
    with pytest.raises(InputError, match="no finished attack there"):
        played(other, tmp_path, data, tmp_path / "out")


def test_an_attack_whose_directory_was_moved_is_heard(other, attacked, data, tmp_path):
    before = played(other, attacked, data, tmp_path / "before")
    shutil.copytree(attacked, tmp_path / "moved")
    for table in (tmp_path / "moved").glob("*/step*/wav.scp"):
        table.write_text(table.read_text().replace(str(attacked), "/gone"))
    assert played(other, tmp_path / "moved", data, tmp_path / "after") == before


def test_audio_that_is_not_there_is_named(other, attacked, data, tmp_path):
    write_table(tmp_path / "wav.scp", {"a1": read_table(data / "wav.scp")["a1"]})
    with pytest.raises(InputError, match=r"(?s)wav\.scp: no audio of .*utterance a2"):
        replay(other, attacked, tmp_path / "wav.scp", tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def test_a_target_that_the_model_cannot_write_is_named(other, attacked, data, tmp_path):
    for file in ("attack.json", "attack_log.jsonl"):
        (tmp_path / file).write_bytes((attacked / file).read_bytes())
    rows = read_jsonl(tmp_path / "attack_log.jsonl")
    write_jsonl(tmp_path / "attack_log.jsonl", [{**row, "target": "lorem"} for row in rows])
    with pytest.raises(InputError, match="lorem"):
        played(other, tmp_path, data, tmp_path / "out")
    assert json.loads((tmp_path / "attack.json").read_text())["model"] == {"weights": "source"}


def test_an_untargeted_attack_on_long_references_is_heard(other, attacked, data, tmp_path):
    made_on = read_json(attacked / "attack.json")
    rows = [{**r, "target": "one " * 200} for r in read_jsonl(attacked / "attack_log.jsonl")]
    rows = [r for r in rows if r["step"] == 0]
    write_jsonl(tmp_path / "attack_log.jsonl", rows)
    made_on["settings"] |= {"steps": []}
    write_json(tmp_path / "attack.json", made_on)
    with pytest.raises(InputError, match="encoder frames"):
        played(other, tmp_path, data, tmp_path / "out")
    made_on["settings"]["targeted"] = False
    write_json(tmp_path / "attack.json", made_on)
    assert len(played(other, tmp_path, data, tmp_path / "out")) == len(rows)
