"""What a run on countermeasures leaves for scoring, and what its attack.json says of budgets."""

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch
from attack_kinds import finish, networks, read, run_of, write_data
from tiny_cm import RATE, cm_model
from tiny_countermeasure import DIMS, model

from espnet_ext.attack import AttackRun, PyTorchCountermeasure
from espnet_ext.attack.condition_scores import write_condition_scores
from espnet_ext.attack.kept import read_kept
from espnet_ext.attack.settings import AttackSettings
from espnet_ext.cm.scores import check_trials, read_scores
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import read_json
from espnet_ext.data.kaldi import read_table
from espnet_ext.errors import InputError

pytestmark = pytest.mark.one_python

METHODS = ["fgsm", "pgd", "noise"]
FAST = {"methods": METHODS, "steps": 2, "batch_size": 2, "keep": False}
WAVES = {"space": "waveform", "unit": "raw"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data("features", tmp_path_factory.mktemp("data") / "eval")


@pytest.fixture
def make(data, tmp_path):
    def make(name="run", observers=None, **changes):
        return run_of("features", data, tmp_path / name, None, observers, **{**FAST, **changes})

    return make


def scored(run):
    """The summary of a finished run."""
    return write_condition_scores(finish(run), run.output_dir)


def test_every_target_gets_a_score_file_for_every_condition(make, data):
    run = make()
    summary = scored(run)
    found = {str(p.relative_to(run.output_dir)) for p in run.output_dir.glob("*/**/scores.txt")}
    models = networks("features")
    expected = {f"{t}/{m}/eps{e}/scores.txt" for t in models for m in METHODS for e in ("0.1", "1")}
    assert found == expected | {f"{t}/clean/scores.txt" for t in models}
    for name in found:
        scores = read_scores(run.output_dir / name)
        check_trials(scores, read_table(data / "utt2label"), read_table(data / "utt2attack"))
    assert [(row["method"], row["eps"]) for row in summary][:3] == [
        ("clean", 0.0), ("fgsm", 0.1), ("fgsm", 1.0),
    ]  # fmt: skip
    assert all(row["utterances"] == 5 for row in summary)
    assert not (run.output_dir / "adversarial").exists()


def test_clean_scores_are_those_of_the_models(make, data):
    run = make(methods=["noise"], eps=[0.1])
    scored(run)
    for name, net in networks("features").items():
        scores = {
            r.utterance: r.score for r in read_scores(run.output_dir / name / "clean/scores.txt")
        }
        for trial in read("features", data):
            wave = torch.from_numpy(read_audio(trial.path)[0]).unsqueeze(0)
            with torch.no_grad():
                feats = net.features(wave, torch.tensor([trial.samples]))
                expected = float(net.scores(net.logits(*feats)))
            assert scores[trial.name] == pytest.approx(expected, abs=1e-4)


def test_the_attack_is_stronger_than_noise_on_its_source(make):
    run = make(eps=[0.5], steps=5, start="fgsm", alpha=0.3)
    rows = finish(run)
    loss = {r["method"]: r["source_loss"] for r in write_condition_scores(rows, run.output_dir)}
    assert loss["pgd"] > loss["fgsm"] > loss["noise"]
    assert loss["pgd"] > loss["clean"]
    for row in rows:
        logits = row["answers"]["lcnn"]["logits"]
        label = ("spoof", "bonafide").index(row["key"])
        assert row["loss"] == pytest.approx(np.logaddexp(*logits) - logits[label], abs=1e-5)
        assert row["attack"] == "-" or row["key"] == "spoof"


def test_every_eps_is_stated_in_all_units(make):
    run = make(eps=[0.5, 2.0], unit="std")
    stated = read_json(run.output_dir / "attack.json")
    # Features are normalised by variance: a deviation is 1.
    assert stated["eps_std"] == pytest.approx({"0.5": 0.5, "2": 2.0})
    assert stated["eps_raw"]["2"] == pytest.approx(2.0, rel=0.02)
    assert stated["eps_db"]["2"] == pytest.approx(4 * stated["eps_db"]["0.5"])
    assert stated["settings"]["unit"] == "std" and len(stated["space"]["std"]) == DIMS
    scored(run)
    stated = read_json(run.output_dir / "attack.json")
    for method in METHODS:
        assert stated[f"snr_{method}"]["0.5"] > stated[f"snr_{method}"]["2"]
    assert "snr_clean" not in stated
    scored(make(eps=[0.5, 2.0], unit="std"))
    assert read_json(run.output_dir / "attack.json") == stated


def test_an_epsilon_in_decibels_moves_by_decibels(make):
    run = make(methods=["noise"], eps=[3.0], unit="db")
    rows = finish(run)
    radius = 3.0 / np.array(read_json(run.output_dir / "attack.json")["space"]["decibels"])
    assert all(
        row["linf"] == pytest.approx(radius.max(), rel=1e-4) for row in rows if row["budget"]
    )


def test_all_shards_share_the_scale_of_the_file(make):
    first = make(unit="std")
    path = first.output_dir / "attack.json"
    values = read_json(path)
    values["space"]["std"] = [3.0] * DIMS
    path.write_text(json.dumps(values))
    assert make(unit="std").victim.feature_space.std.tolist() == [3.0] * DIMS


def test_waveforms_are_attacked_in_every_norm_and_unit(make, data):
    run = make(**WAVES, methods=["pgd", "noise"], eps=[0.01], keep=True)
    loss = {row["method"]: row["source_loss"] for row in scored(run)}
    assert loss["pgd"] > loss["clean"]
    stated = read_json(run.output_dir / "attack.json")
    assert stated["eps_dbfs"] == {"0.01": pytest.approx(-40.0)} and "space" not in stated
    ratios = finish(make("snr", **WAVES, norm=2, eps=[], snr=[20], methods=["pgd", "noise"]))
    assert all(20.0 <= row["snr"] < 40.0 for row in ratios if row["budget"])


def test_features_that_stand_for_no_waveform_have_no_ratio(data, tmp_path):
    net = PyTorchCountermeasure(cm_model(frontend="lfcc", frontend_conf={"fs": RATE}))
    settings = AttackSettings.of("cm", {"methods": ["noise"], "eps": [0.1]})
    run = AttackRun(net, settings, read("features", data), tmp_path, {}, {"lfcc": net})
    assert {row["snr"] for row in scored(run)} == {None}


def test_features_of_a_fixed_number_of_frames(make):
    run = make(frames=25, methods=["fgsm"], eps=[0.1], keep=True)
    finish(run)
    kept = read_table(run.output_dir / "adversarial/fgsm/eps0.1/step1/feats.scp")
    assert {read_kept(place).shape for place in kept.values()} == {(25, DIMS)}


def estimators(space="features", **models):
    return {name: PyTorchCountermeasure(net, space=space) for name, net in models.items()}


def test_other_features_are_refused(make):
    with pytest.raises(InputError, match=r"target raw has other features .* standard deviations"):
        make(observers=estimators(raw=model(variance=False)))
    narrow = model(dims=8)
    narrow.frontend.delta_window = 0
    with pytest.raises(InputError, match=r"target narrow has features of .* 8"):
        make(observers=estimators(narrow=narrow))
    other = model()
    other.sample_rate = 16000
    with pytest.raises(InputError, match="target other takes 16000 Hz, the source 8000 Hz"):
        make(observers=estimators(other=other))
    assert not make("never", observers={}).observers
    make("waves", observers=estimators("waveform", raw=model(variance=False)), **WAVES)


def test_the_upstream_attack_needs_an_upstream(make):
    with pytest.raises(InputError, match="needs a countermeasure with one between"):
        make(methods=["upstream"])


@pytest.mark.parametrize("name", ["a/b", ".a", "log", "attack.json", "a b", "", "x" * 300])
def test_a_target_whose_name_is_no_directory_is_refused(make, name):
    with pytest.raises(InputError, match="cannot be the name"):
        make(observers=estimators(**{name: model()}))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_gradients_that_say_nothing_are_counted_and_stated(make, value, caplog):
    caplog.set_level(logging.INFO)
    run = make(methods=["pgd", "apgd", "noise"], eps=[0.5])
    logits = run.victim.logits

    def spoiled(inputs, lengths):
        found = logits(inputs, lengths)
        return found + (inputs * value).sum() if inputs.requires_grad else found

    def flat(inputs, lengths):
        return logits(inputs.detach(), lengths) + 0.0 * inputs.sum()

    run.victim.logits = flat if value == 0.0 else spoiled
    rows = finish(run)
    summary = {r["method"]: r for r in write_condition_scores(rows, run.output_dir)}
    assert summary["pgd"]["stalled_utterances"] == 5
    assert summary["noise"]["stalled_utterances"] == summary["clean"]["stalled_utterances"] == 0
    stated = read_json(run.output_dir / "attack.json")
    assert stated["utterances_without_gradient_pgd"] == {"0.5": 5}
    assert {r["stalled_steps"] for r in rows if r["method"] == "pgd"} == {2}
    assert "2 of 2 utterances had steps without" in caplog.text


def test_a_score_that_is_no_number_is_refused(make):
    run = make(methods=["noise"], eps=[0.5])
    net = run.victim.countermeasure
    broken = PyTorchCountermeasure(net)
    broken.logits = lambda inputs, lengths: net.logits(inputs, lengths) * float("nan")
    run.observers = {"broken": broken}
    with pytest.raises(InputError, match="a score that is no number"):
        run.run()
    assert not list(run.output_dir.glob("log/**/*.jsonl"))


def test_the_attack_of_another_source_or_on_other_targets_is_refused(make):
    finish(make())
    for change in ({"steps": 3}, {"observers": estimators(lcnn=networks("features")["lcnn"])}):
        with pytest.raises(InputError, match="another attack"):
            make(**change)
    assert dataclasses.asdict(make().settings.victim)["space"] == "features"


def test_a_budget_in_snr_is_no_eps(make):
    run = make("snr", observers=estimators("waveform", itself=model()), **WAVES | {"snr": [30]})
    summary = {row["budget"]: row for row in scored(run) if row["method"] == "pgd"}
    assert summary["snr30"]["eps"] is None and summary["snr30"]["snr"] > 29.0
    others = {key for key, row in summary.items() if row["eps"] is not None}
    stated = read_json(run.output_dir / "attack.json")["snr_pgd"]
    assert {f"eps{size}" for size in stated} == others and "snr30" not in others
