import pytest

from espnet_ext.data.files import write_json
from espnet_ext.errors import InputError
from espnet_ext.report.experiments import read_experiment


def test_each_kind_of_result_is_told_from_the_others(sweep, countermeasures, attacked):
    found = [read_experiment(d) for d in (sweep, countermeasures, attacked(audio=False)[0])]
    assert [e.kind for e in found] == ["recognition_sweep", "countermeasure", "recognition_attack"]
    names = ["report_sweep", "report_cm", "la1.0_lc0.5_seed0/attack_li0.5"]
    assert [e.name for e in found] == names
    assert found[2].attack()["ctc_weight"] == 0.5 and len(found[2].log()) == 18


def test_a_result_is_named_after_its_directory_however_it_is_given(sweep, monkeypatch):
    monkeypatch.chdir(sweep)
    assert read_experiment(".").name == "report_sweep"


def test_what_was_not_kept_is_empty(attacked):
    directory, _ = attacked(audio=False)
    for name in ("attack.json", "attack_log.jsonl"):
        (directory / name).unlink()
    found = read_experiment(directory)
    assert (found.attack(), found.log()) == ({}, [])


@pytest.mark.parametrize("value", [{}, [], 3, {"scores": {}, "environment": {}}, {"models": []}])
def test_results_of_another_command_are_refused(tmp_path, value):
    write_json(tmp_path / "results.json", value)
    with pytest.raises(InputError, match="not of asr_report, asr_attack or cm_report"):
        read_experiment(tmp_path)


def test_a_directory_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_experiment(tmp_path)
    with pytest.raises(InputError, match="no such directory; give the one where"):
        read_experiment(tmp_path / "results.json")
