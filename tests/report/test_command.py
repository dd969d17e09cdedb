"""The command of the report stage, from the list of conditions to RESULTS.md."""

import json
import sys

import pytest

from espnet_ext.bin import asr_report
from espnet_ext.errors import InputError
from espnet_ext.report.reports import write_report

JSON = ("results.json", "results.schema.json", "training.json")
FIGURES = [f"{name}.{end}" for name in ("figure1", "figure_snr") for end in ("png", "svg")]
FILES = ("RESULTS.md", *FIGURES, *JSON)


@pytest.fixture
def no_figure(monkeypatch):
    """Painting takes longer than everything else."""
    report = "espnet_ext.report.recognition_report"
    monkeypatch.setattr(f"{report}.figure_1", lambda results, path: None)
    monkeypatch.setattr(f"{report}.figure_snr", lambda results, path: None)


@pytest.fixture
def run(three, data_dir, tmp_path, monkeypatch):
    """Run the command on three conditions; give its output directory back."""
    conditions, output = tmp_path / "conditions.tsv", tmp_path / "report"
    lines = [[*c.weights, c.model_dir, c.decode_dir, c.attack_dir] for c in three]
    conditions.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))

    def run(*options: str):
        command = ["asr_report", "--conditions", conditions, "--data_dir", data_dir]
        command += ["--output_dir", output, *options]
        monkeypatch.setattr(sys, "argv", [str(word) for word in command])
        asr_report.main()
        return output

    return run


def read_results(output) -> dict:
    def refuse(name: str):
        raise AssertionError(f"{name} in results.json")

    return json.loads((output / "results.json").read_text(), parse_constant=refuse)


def test_the_report_is_written_whole(run, capsys):
    pytest.importorskip("matplotlib")
    output = run()
    assert {p.name for p in output.iterdir()} == set(FILES)
    assert capsys.readouterr().out == f"{output}/RESULTS.md\n"
    values = [e["adv_twer"][0] for e in read_results(output)["conditions"][1]["attack"]]
    assert values == [100, 40, 80]
    assert "asr_report --conditions" in read_results(output)["environment"]["command"]


@pytest.mark.usefixtures("no_figure")
def test_the_report_is_made_of_results_json_and_of_nothing_else(run, tmp_path):
    output = run()
    write_report(read_results(output), tmp_path / "again")
    assert (tmp_path / "again/RESULTS.md").read_bytes() == (output / "RESULTS.md").read_bytes()


@pytest.mark.usefixtures("no_figure")
def test_lists_of_other_runs_are_put_in_front(run, tmp_path):
    lines = (tmp_path / "conditions.tsv").read_text().splitlines(keepends=True)
    for name, part in (("first.tsv", lines[:1]), ("second.tsv", lines[1:])):
        (tmp_path / name).write_text("".join(part))
    output = run("--conditions", tmp_path / "first.tsv", tmp_path / "second.tsv")
    assert len(read_results(output)["conditions"]) == 3


@pytest.mark.usefixtures("no_figure")
def test_the_unit_of_the_intervals_is_an_option(run):
    results = [read_results(run("--interval_unit", unit)) for unit in ("utterance", "speaker")]
    assert "resamples of speakers" in results[1]["definitions"]["interval"]
    first, second = (r["conditions"][2]["attack"][1]["adv_twer"] for r in results)
    assert first[0] == second[0] and first != second


@pytest.mark.usefixtures("no_figure")
def test_a_refused_sweep_leaves_the_old_report(run, three):
    output = run()
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    (three[1].attack_dir / "attack_log.jsonl").unlink()
    with pytest.raises(InputError, match="no such file"):
        run()
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
