import json
import sys
from functools import partial

import numpy as np
import pytest
from countermeasure_run import write_list

from espnet_ext.bin import cm_report, cm_score
from espnet_ext.cm.scores import TrialScore, write_score_file
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.report import countermeasure_scores

ROWS = [
    TrialScore(f"{'b' if bonafide else 's'}{n}", *keys, score)
    for bonafide, keys, scores in (
        (True, ("-", "bonafide"), (2.0, 1.5, 1.0, -0.5)),
        (False, ("A07", "spoof"), (0.8, -1.0, -2.0, -3.0)),
    )
    for n, score in enumerate(scores)
]
ASV = ["bonafide target 3", "bonafide target 2", "bonafide nontarget 1", "bonafide nontarget 0"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Scores, verification scores and a data directory, in the current directory."""
    monkeypatch.chdir(tmp_path)
    quick = partial(countermeasure_scores.measure_scores, resamples=50)
    monkeypatch.setattr(countermeasure_scores, "measure_scores", quick)
    write_score_file("exp/scores.txt", ROWS)
    (tmp_path / "asv").write_text("".join(f"{a}\n" for a in [*ASV, *["A07 spoof 2.5"] * 4]))
    write_table("data/utt2spk", {row.utterance: row.utterance[1] for row in ROWS})
    write_table("data/utt2label", {row.utterance: row.key for row in ROWS})
    write_table("data/utt2attack", {row.utterance: row.attack for row in ROWS})
    return tmp_path


@pytest.fixture
def call(monkeypatch, capsys, files):
    """Call the command; give back what it prints."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cm_score", *arguments])
        cm_score.main()
        return capsys.readouterr().out

    return call


def results(path) -> dict:
    def refuse(name: str):
        raise AssertionError(f"{name} in results.json")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_all_metrics_are_written_beside_the_scores(call, files):
    said = call(
        *("--scores", "exp/scores.txt", "--dev_scores", "exp/scores.txt"),
        *("--data_dir", "data", "--asv_scores", "asv"),
    )
    found = results(files / "exp" / "results.json")
    assert found["eer"][0] == pytest.approx(25.0) and found["speakers"] == 4
    assert found["threshold"]["source"] == "equal error rate of exp/scores.txt"
    assert found["balanced_accuracy"][0] == pytest.approx(75.0)
    assert found["min_tdcf_2019"][0] <= 1.0
    assert "cm_score --scores exp/scores.txt" in found["environment"]["command"]
    assert "| EER % | 25.0" in said and "| A07 | 4 |" in said
    assert said.endswith("\n\nexp/results.json\n")


def test_scores_alone(call, files):
    said = call("--scores", "exp/scores.txt", "--output", "out/r.json")
    assert results(files / "out" / "r.json")["min_tdcf_2019"] is None
    assert "| min t-DCF (2019 form) | - |" in said
    assert not (files / "exp" / "results.json").exists()


def test_a_given_threshold(call, files):
    call("--scores", "exp/scores.txt", "--threshold", "-9")
    found = results(files / "exp" / "results.json")
    assert found["threshold"] == {"value": -9.0, "source": "given"}
    assert found["spoof_accept_rate"][0] == 100.0


def test_parts_of_jobs(call, files):
    write_score_file("parts/scores.1.txt", ROWS[:3])
    write_score_file("parts/scores.2.txt", ROWS[3:])
    call("--scores", "parts/scores.1.txt", "parts/scores.2.txt", "--data_dir", "data")
    call("--scores", "exp/scores.txt", "--data_dir", "data")
    one, two = (results(files / d / "results.json") for d in ("parts", "exp"))
    assert {**one, "environment": None} == {**two, "environment": None}


def test_a_part_of_the_trials(call):
    write_score_file("part/scores.txt", ROWS[:6])
    with pytest.raises(InputError, match="attack A07: 4 trials there, 2 countermeasure trials"):
        call("--scores", "part/scores.txt", "--asv_scores", "asv")
    call("--scores", "part/scores.txt", "--asv_scores", "asv", "--part", "true")


def test_scores_that_are_not_of_the_data(call, files):
    write_score_file("part/scores.txt", ROWS[:6])
    with pytest.raises(InputError, match=r"utterance s\d has no score"):
        call("--scores", "part/scores.txt", "--data_dir", "data")
    assert not (files / "part" / "results.json").exists()


def test_a_bad_line_leaves_the_old_results(call, files):
    call("--scores", "exp/scores.txt")
    before = (files / "exp" / "results.json").read_bytes()
    with (files / "exp" / "scores.txt").open("a") as f:
        f.write("x A07 spoof nan\n")
    with pytest.raises(InputError, match=r"exp/scores.txt:9: the score is nan"):
        call("--scores", "exp/scores.txt")
    assert (files / "exp" / "results.json").read_bytes() == before


def test_two_thresholds_are_refused(call, capsys):
    with pytest.raises(SystemExit):
        call("--scores", "exp/scores.txt", "--threshold", "1", "--dev_scores", "exp/scores.txt")
    assert "not allowed with argument" in capsys.readouterr().err


def test_one_score_file_has_one_interval(monkeypatch, tmp_path):
    """cm_score and cm_report say the same of it, whatever the order of its lines."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    asv, parts = [], {"dev": [], "eval": []}
    for part, rows in parts.items():
        for n, score in enumerate(generator.normal(size=120)):
            attack = ("-", "A07", "A08")[n % 3]
            key = "bonafide" if attack == "-" else "spoof"
            rows.append(TrialScore(f"u{n}", attack, key, score + 2.0 * (attack == "-")))
            if part == "eval":
                asv += [f"{attack} spoof {score:g}"] if attack != "-" else []
                asv += ["bonafide target 2", "bonafide nontarget -2"] if attack == "-" else []
        write_score_file(f"exp/lcnn_seed0/score/{part}/scores.txt", rows)
    write_score_file("shuffled.txt", [parts["eval"][n] for n in generator.permutation(120)])
    (tmp_path / "asv").write_text("".join(f"{line}\n" for line in asv))
    write_list(tmp_path / "models.yaml", [("lcnn", "lcnn", "mel")])
    write_table("data/utt2spk", {row.utterance: f"s{n % 8}" for n, row in enumerate(parts["eval"])})
    write_table("data/utt2label", {row.utterance: row.key for row in parts["eval"]})
    write_table("data/utt2attack", {row.utterance: row.attack for row in parts["eval"]})

    report = (
        "--models models.yaml --expdir exp --utt2spk data/utt2spk --asv_scores asv --lnsr false"
    )
    score = "--data_dir data --asv_scores asv --dev_scores exp/lcnn_seed0/score/dev/scores.txt"
    eval_scores = "exp/lcnn_seed0/score/eval/scores.txt"
    for module, options in (
        (cm_report, f"{report} --output_dir report"),
        (cm_score, f"{score} --scores {eval_scores} --output one.json"),
        (cm_score, f"{score} --scores shuffled.txt --output two.json"),
    ):
        monkeypatch.setattr(sys, "argv", [module.__name__, *options.split()])
        module.main()
    (model,) = results(tmp_path / "report/results.json")["models"]
    for name in ("one.json", "two.json"):
        found = results(tmp_path / name)
        for measure in ("eer", "min_tdcf_2019", "min_tdcf_2021"):
            assert found[measure] == model[measure] and None not in found[measure]
        assert {key: found[key] for key in model["clean"]} == model["clean"]
        assert {e["attack"]: e["eer"] for e in found["attacks"]} == model["eer_by_attack"]
