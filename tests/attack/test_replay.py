"""Adversarial audio of one model heard by another."""

import json
import shutil

import pytest
from attack_kinds import finish, run_of, settings_of, victims, write_data
from tiny import tiny_recognizer
from tiny_countermeasure import model

from espnet_ext.attack import PyTorchCountermeasure, PyTorchESPnet
from espnet_ext.attack.kept import read_kept
from espnet_ext.attack.replay import OF_THE_AUDIO, replay
from espnet_ext.data.attack_log import condition_of
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import read_json, read_jsonl, write_json, write_jsonl
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError

pytestmark = pytest.mark.one_python

KINDS = ["recognizer", "features", "waveform"]
CHANGES = {"methods": ["pgd", "noise"]}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def other(kind):
    """A model that has not been attacked."""
    if kind == "recognizer":
        return PyTorchESPnet(tiny_recognizer(seed=2), 0.0)
    return PyTorchCountermeasure(model("senet", seed=5), space=settings_of(kind).victim.space)


@pytest.fixture(scope="module")
def data(kind, tmp_path_factory):
    return write_data(kind, tmp_path_factory.mktemp("data") / "eval")


@pytest.fixture(scope="module")
def attacked(kind, data, tmp_path_factory):
    """A finished attack on a model."""
    output = tmp_path_factory.mktemp("attack")
    finish(run_of(kind, data, output, {"weights": "source"}, **CHANGES))
    return output


def played(other, attacked, data, output):
    return replay(other, attacked, data / "wav.scp", output, {"weights": "other"}, batch_size=2)


def key(row):
    return row["utterance"], condition_of(row), row["step"]


def test_answers_are_those_of_the_model_that_is_asked(kind, other, attacked, data, tmp_path):
    rows = played(other, attacked, data, tmp_path)
    assert {key(row) for row in rows} == {key(r) for r in read_jsonl(attacked / "attack_log.jsonl")}
    for row in rows:
        folder = attacked / "adversarial" / condition_of(row) / f"step{row['step']}"
        goals = [other.goal_of(row)]
        if row["step"] and kind == "features":
            features = read_kept(read_table(folder / "feats.scp")[row["utterance"]]).copy()
            batch = other.batch([row["utterance"]], [features], goals)
        else:
            paths = read_table(folder / "wav.scp" if row["step"] else data / "wav.scp")
            wave = read_audio(paths[row["utterance"]])[0]
            batch = other.speech_batch([row["utterance"]], [wave], goals)
        (expected,) = other.observe(batch, batch.inputs)
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-3, abs=1e-4)
        assert row.get("hypothesis") == expected.get("hypothesis")
        assert "loss_ctc" not in row  # it decodes without CTC


def test_everything_else_is_that_of_the_attack(other, attacked, data, tmp_path):
    played(other, attacked, data, tmp_path)

    def kept(directory):
        rows = read_jsonl(directory / "attack_log.jsonl")
        return sorted(
            ({k: v for k, v in row.items() if k in OF_THE_AUDIO} for row in rows), key=key
        )

    assert kept(tmp_path) == kept(attacked)
    about, before = read_json(tmp_path / "attack.json"), read_json(attacked / "attack.json")
    assert (about["settings"], about["utterances"]) == (before["settings"], before["utterances"])
    assert about["weights"] == "other" and about["made_on"] == {"weights": "source"}


def test_a_model_answers_its_own_attack_as_it_did(kind, attacked, data, tmp_path):
    same = next(iter(victims(kind, settings_of(kind)).values()))
    found = {key(row): row for row in played(same, attacked, data, tmp_path)}
    for row in read_jsonl(attacked / "attack_log.jsonl"):
        again = found[key(row)]
        assert (again.get("hypothesis"), again["reached"]) == (
            row.get("hypothesis"),
            row["reached"],
        )
        assert again["loss"] == pytest.approx(row["loss"], rel=1e-3, abs=1e-4)


def test_texts_are_compared_in_the_normal_form_of_the_model_that_is_asked(
    kind, other, attacked, data, tmp_path
):
    if kind != "recognizer":
        pytest.skip("of transcripts")
    rows = read_jsonl(attacked / "attack_log.jsonl")
    plain = {row["reference"] for row in rows}
    shutil.copytree(attacked, tmp_path, dirs_exist_ok=True)
    spelled = [{**r, "reference": f"{r['reference']}!", "target": f"{r['target']}!"} for r in rows]
    write_jsonl(tmp_path / "attack_log.jsonl", spelled)
    given = (other, tmp_path, data / "wav.scp", tmp_path / "out", {}, 2, None)
    found = replay(*given, lambda text: text.removesuffix("!"))
    assert {row["reference"] for row in found} == plain
    assert {row["target"] for row in found} == {row["target"] for row in rows}


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
    for table in (tmp_path / "moved").glob("adversarial/*/*/step*/*.scp"):
        table.write_text(table.read_text().replace(str(attacked), "/gone"))
    assert played(other, tmp_path / "moved", data, tmp_path / "after") == before


def test_audio_that_is_not_there_is_named(other, attacked, data, tmp_path):
    (first, path), (second, _), *_ = sorted(read_table(data / "wav.scp").items())
    write_table(tmp_path / "wav.scp", {first: path})
    with pytest.raises(InputError, match=rf"(?s)without attack: no audio of .*utterance {second}"):
        replay(other, attacked, tmp_path / "wav.scp", tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def test_a_target_that_the_model_cannot_write_is_named(kind, other, attacked, data, tmp_path):
    if kind != "recognizer":
        pytest.skip("of transcripts")
    shutil.copytree(attacked, tmp_path, dirs_exist_ok=True)
    rows = read_jsonl(tmp_path / "attack_log.jsonl")
    write_jsonl(tmp_path / "attack_log.jsonl", [{**row, "target": "lorem"} for row in rows])
    with pytest.raises(InputError, match="lorem"):
        played(other, tmp_path, data, tmp_path / "out")
    assert json.loads((tmp_path / "attack.json").read_text())["weights"] == "source"


def test_an_untargeted_attack_on_long_references_is_heard(kind, other, attacked, data, tmp_path):
    if kind != "recognizer":
        pytest.skip("of transcripts")
    made_on = read_json(attacked / "attack.json")
    rows = [{**r, "target": "one " * 200} for r in read_jsonl(attacked / "attack_log.jsonl")]
    rows = [r for r in rows if r["step"] == 0]
    write_jsonl(tmp_path / "attack_log.jsonl", rows)
    made_on["settings"] |= {"methods": {}, "eps": [], "snr": []}
    write_json(tmp_path / "attack.json", made_on)
    with pytest.raises(InputError, match="encoder frames"):
        played(other, tmp_path, data, tmp_path / "out")
    left = PyTorchESPnet(other.recognizer, 0.0, goal="not_reference")
    assert len(played(left, tmp_path, data, tmp_path / "out")) == len(rows)
