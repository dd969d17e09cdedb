import json
import shutil
from pathlib import Path

import pytest

from espnet_ext.data.files import read_json, write_json
from espnet_ext.errors import InputError
from espnet_ext.report.recognition_report import AttackReport, SweepReport
from espnet_ext.report.reports import read_report, render, results_schema, upgraded, write_report

EGS2 = Path(__file__).parents[2] / "egs2"
FSDD, MOCKINGJAY = EGS2 / "fsdd/mtl_asr1/results/seed0", EGS2 / "librispeech/ssl1/results/small"


@pytest.mark.parametrize("folder", sorted(EGS2.glob("*/*/results/**/results.json")), ids=str)
def test_kept_reports_are_what_their_results_make(folder):
    text = (folder.parent / "RESULTS.md").read_text()
    assert render(folder.parent) == text
    for picture in [part.split(")")[0] for part in text.split("](")[1:]]:
        assert (folder.parent / picture).exists(), picture


@pytest.mark.usefixtures("no_pictures")
def test_it_is_what_the_command_writes(tmp_path):
    write_report(read_json(FSDD / "results.json"), tmp_path)
    assert render(tmp_path) == (tmp_path / "RESULTS.md").read_text()


@pytest.mark.parametrize("folder", sorted(EGS2.glob("*/*/results/**/results.json")), ids=str)
def test_kept_results_follow_their_schema(folder):
    jsonschema = pytest.importorskip("jsonschema")
    results = read_json(folder)
    validator = jsonschema.Draft202012Validator(results_schema(results["kind"]))
    validator.check_schema(validator.schema)
    validator.validate(results)
    assert not validator.is_valid({**results, "kind": "another"})
    assert not validator.is_valid({**results, "surprise": 1})


def test_pictures_that_were_not_kept_are_not_linked(tmp_path):
    shutil.copy(MOCKINGJAY / "results.json", tmp_path)
    assert "![" not in render(tmp_path)
    (tmp_path / "a.png").touch()
    assert "](a.png)" in render(tmp_path)


def test_each_kind_of_result_is_told_from_the_others(sweep, countermeasures, attacked):
    found = [read_report(d) for d in (sweep, countermeasures, attacked(audio=False)[0])]
    subjects = ["Multi-task ASR", "Countermeasures", "Attack on one recognizer"]
    assert [report.subject for report in found] == subjects
    names = ["report_sweep", "report_cm", "la1.0_lc0.5_seed0/attack_li0.5"]
    assert [e.name for e in found] == names
    assert found[2].attack["ctc_weight"] == 0.5 and len(found[2].log()) == 18


def test_a_result_is_named_after_its_directory_however_it_is_given(sweep, monkeypatch):
    monkeypatch.chdir(sweep)
    assert read_report(".").name == "report_sweep"


def test_what_was_not_kept_is_empty(attacked):
    directory, _ = attacked(audio=False)
    for name in ("attack.json", "attack_log.jsonl"):
        (directory / name).unlink()
    found = read_report(directory)
    assert (found.attack, found.log()) == ({}, [])


@pytest.mark.parametrize("value", [{}, [], 3, {"scores": {}, "environment": {}}, {"models": []}])
def test_results_of_another_command_are_refused(tmp_path, value):
    write_json(tmp_path / "results.json", value)
    with pytest.raises(InputError, match="not of asr_report, asr_attack"):
        read_report(tmp_path)


def test_a_directory_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_report(tmp_path)
    with pytest.raises(InputError, match="no such directory; give the one where"):
        read_report(tmp_path / "results.json")


def test_results_of_before_there_was_a_kind_are_read(sweep, attacked):
    old = read_json(sweep / "results.json")
    for key in ("kind", "version", "layout", "attack_commits"):
        del old[key]
    for condition in old["conditions"]:
        for entry in condition["attack"]:
            del entry["method"]
    write_json(sweep / "results.json", old)
    assert isinstance(read_report(sweep), SweepReport)
    directory, _ = attacked(audio=False)
    old = read_json(directory / "results.json")
    assert "kind" not in old and isinstance(read_report(directory), AttackReport)
    assert upgraded(upgraded(old)) == upgraded(old) and json.dumps(upgraded(old))
