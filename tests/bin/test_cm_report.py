"""The command of the countermeasure report, from score files to RESULTS.md."""

import json
import sys

import pytest
from countermeasure_run import LAYOUT_FILE, UTT2SPK, write_list, write_run

from espnet_ext.bin import cm_report
from espnet_ext.data.files import write_lines
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.report.countermeasure_figures import countermeasure_pictures
from espnet_ext.report.reports import write_report

pytestmark = pytest.mark.one_python

pytest.importorskip("matplotlib")
JSON = ("results.json", "results.schema.json", "training.json")


@pytest.fixture
def no_pictures(monkeypatch):
    """Painting takes longer than everything else."""
    report = "espnet_ext.report.countermeasure_report.countermeasure_pictures"
    monkeypatch.setattr(report, lambda results: iter(()))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command on a small run; give its output directory back."""
    models, utt2spk, output = (tmp_path / n for n in ("models.yaml", "utt2spk", "report"))
    write_list(models)
    write_table(utt2spk, UTT2SPK)

    def run(*options: str):
        command = ["cm_report", "--models", models, "--expdir", tmp_path / "exp"]
        command += ["--utt2spk", utt2spk, "--output_dir", output, "--resamples", "99"]
        command += ["--layout", LAYOUT_FILE, *options]
        monkeypatch.setattr(sys, "argv", [str(word) for word in command])
        cm_report.main()
        return output

    return run


def read_results(output) -> dict:
    def refuse(name: str):
        raise AssertionError(f"{name} in results.json")

    return json.loads((output / "results.json").read_text(), parse_constant=refuse)


def test_the_report_is_written_whole(run, tmp_path, capsys):
    write_run(tmp_path / "exp")
    output = run("--seeds", "0 1")
    names = {"figure2.png", "figure2_plain.png", "figure3.png", "transfer_pgd_0.3.png"}
    names = {*names, "histograms.png"}
    names |= {name.replace(".png", ".svg") for name in names}
    assert {path.name for path in output.iterdir()} == {*names, *JSON, "RESULTS.md"}
    assert capsys.readouterr().out == f"{output}/RESULTS.md\n"
    results = read_results(output)
    assert results["seeds"] == [0, 1] and len(results["cells"]) == 24
    assert "cm_report --models models.yaml" in results["environment"]["command"]
    assert "](figure2.png)" in (output / "RESULTS.md").read_text()


@pytest.mark.usefixtures("no_pictures")
def test_the_report_is_made_of_results_json_and_of_nothing_else(run, tmp_path):
    write_run(tmp_path / "exp")
    output = run("--seeds", "0 1")
    write_report(read_results(output), tmp_path / "again")
    assert (tmp_path / "again/RESULTS.md").read_bytes() == (output / "RESULTS.md").read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_two_runs_give_the_same_numbers(run, tmp_path):
    write_run(tmp_path / "exp")
    first, second = (read_results(run("--seeds", "0 1")) for _ in range(2))
    for results in (first, second):
        del results["environment"]
    assert first == second


@pytest.mark.usefixtures("no_pictures")
def test_verification_scores_add_the_tandem_cost(run, tmp_path):
    write_run(tmp_path / "exp")
    lines = ["bonafide target 2.0", "bonafide target 1.0", "bonafide nontarget -1.0"]
    lines += [f"{kind} spoof 1.5" for kind in ("A07",) * 2 + ("A08",) * 4]
    write_lines(tmp_path / "asv.txt", lines)
    output = run("--asv_scores", str(tmp_path / "asv.txt"))
    assert read_results(output)["models"][0]["min_tdcf_2019"] == [0.0, 0.0, 0.0]
    assert "min t-DCF (2019)" in (output / "RESULTS.md").read_text()


def test_pictures_follow_the_layout(run, tmp_path):
    write_run(tmp_path / "exp")
    layout = tmp_path / "report.yaml"
    layout.write_text("heat_map: {method: fgsm, eps: 8}\n")
    output = run("--seeds", "0 1", "--layout", str(layout))
    assert {p.name for p in output.glob("*.png")} == {"transfer_fgsm_8.png", "figure3.png"}
    assert read_results(output)["layout"] == {"heat_map": {"method": "fgsm", "eps": 8}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heatmap: 1", r"report.yaml: nothing takes 'heatmap'; did you mean 'heat_map'"),
        ("heat_map: {method: pgd}", "report.yaml: heat_map: lacks 'eps'"),
        ("lnsr_eps: [8, a]", "report.yaml: lnsr_eps: entry 2: expected a number, got 'a'"),
        ("panels: 1", "report.yaml: panels: expected a list, got 1"),
    ],
)
def test_a_layout_that_is_none_is_refused(run, tmp_path, text, message):
    write_run(tmp_path / "exp")
    (tmp_path / "report.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        run("--layout", str(tmp_path / "report.yaml"))
    assert not (tmp_path / "report").exists()


def test_a_run_without_scores_is_refused_with_what_makes_them(run, tmp_path):
    with pytest.raises(InputError, match=r"no scores of any of the 3 models; './run.sh'"):
        run()
    assert not (tmp_path / "report").exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_refused_run_leaves_the_old_report(run, tmp_path):
    write_run(tmp_path / "exp")
    output = run()
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    write_lines(tmp_path / "exp/lcnn_mel_seed0/score/eval/scores.txt", ["b1 - bonafide"])
    with pytest.raises(InputError, match=r"scores.txt:1"):
        run()
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_seeds_that_are_no_numbers_are_refused(run, capsys):
    with pytest.raises(SystemExit):
        run("--seeds", "0 a")
    assert "--seeds" in capsys.readouterr().err


def test_pictures_can_be_drawn_again_from_results_json(run, tmp_path):
    write_run(tmp_path / "exp")
    results = read_results(run())
    assert [p.name for p in countermeasure_pictures(results)] == [
        "figure2.png",
        "figure2_plain.png",
        "transfer_pgd_0.3.png",
        "histograms.png",
        "figure3.png",
    ]
