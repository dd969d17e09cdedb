import json
import logging

import kaldiio
import numpy as np
import pytest
import torch
from espnet_ext.attack.cm_settings import CountermeasureAttackSettings
from espnet_ext.attack.transfer import TransferRun
from espnet_ext.attack.trials import read_trials
from tiny_cm import RATE, cm_model, write_tones
from tiny_countermeasure import DIMS, model

from espnet_ext.attack import transfer
from espnet_ext.cm.scores import check_trials, read_scores
from espnet_ext.data.audio import read_audio
from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.data.kaldi import read_table
from espnet_ext.defense import SmoothingFilter
from espnet_ext.errors import InputError

METHODS = ["fgsm", "pgd", "noise"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("data") / "eval", 7)


@pytest.fixture(scope="module")
def models():
    return {
        "lcnn": model("lcnn", seed=1),
        "senet": model("senet", seed=2),
        "median": model("senet", seed=2, defense=SmoothingFilter(DIMS)),
    }


@pytest.fixture
def make(data, models, tmp_path):
    """A run of the attack of the LCNN on all models."""

    def make(name="run", source="lcnn", targets=None, **values):
        values = {"methods": METHODS, "eps": [0.1, 1.0], "steps": 2, "batch_size": 2, **values}
        return TransferRun(
            models[source],
            models if targets is None else targets,
            CountermeasureAttackSettings.from_mapping({"batch_overhead": 0.05, **values}),
            read_trials(data, RATE),
            tmp_path / name,
            {"source": source},
        )

    return make


def files(folder, pattern="*/**/scores.txt"):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob(pattern))}


def finish(run):
    run.run()
    assert run.finished()
    return run.collect()


def test_every_target_gets_a_score_file_for_every_condition(make, data, models):
    run = make()
    summary = finish(run)
    found = files(run.output_dir)
    expected = {f"{t}/{m}/eps{e}/scores.txt" for t in models for m in METHODS for e in ("0.1", "1")}
    assert set(found) == expected | {f"{t}/clean/scores.txt" for t in models}
    for name in found:
        scores = read_scores(run.output_dir / name)
        check_trials(scores, read_table(data / "utt2label"), read_table(data / "utt2attack"))
    assert [(row["method"], row["eps"]) for row in summary][:3] == [
        ("clean", 0.0), ("fgsm", 0.1), ("fgsm", 1.0),
    ]  # fmt: skip
    assert all(row["utterances"] == 7 for row in summary)
    assert len(read_jsonl(run.output_dir / "attack_log.jsonl")) == 7 * 7
    assert not (run.output_dir / "kept").exists()


def test_clean_scores_are_those_of_the_models(make, models):
    run = make(methods=["noise"], eps=[0.1])
    finish(run)
    for name, net in models.items():
        scores = {
            r.utterance: r.score for r in read_scores(run.output_dir / name / "clean/scores.txt")
        }
        for trial in run.trials:
            wave = torch.from_numpy(read_audio(trial.path)[0]).unsqueeze(0)
            with torch.no_grad():
                feats = net.features(wave, torch.tensor([trial.samples]))
                expected = float(net.scores(net.logits(*feats)))
            assert scores[trial.name] == pytest.approx(expected, abs=1e-4)


def test_the_attack_is_stronger_than_noise_on_its_source(make):
    run = make(methods=["pgd", "noise", "fgsm"], eps=[0.5], steps=5)
    loss = {row["method"]: row["source_loss"] for row in finish(run)}
    assert loss["pgd"] > loss["fgsm"] > loss["noise"]
    assert loss["pgd"] > loss["clean"]
    rows = read_jsonl(run.output_dir / "attack_log.jsonl")
    for row in rows:
        logits = row["targets"]["lcnn"]["logits"]
        label = ("spoof", "bonafide").index(row["key"])
        expected = np.logaddexp(*logits) - logits[label]
        assert row["source_loss"] == pytest.approx(expected, abs=1e-5)
        assert row["attack"] == "-" or row["key"] == "spoof"


def test_an_interrupted_run_gives_what_an_uninterrupted_one_gives(make, monkeypatch):
    whole = make("whole", methods=[*METHODS, "apgd", "square"], queries=3, eps=[0.5])
    finish(whole)
    broken = make("broken", methods=[*METHODS, "apgd", "square"], queries=3, eps=[0.5])
    attacked, calls = TransferRun._attacked, []

    def fail_at_the_seventh(self, condition, batch):
        calls.append((condition, batch.names[0]))
        if len(calls) == 7:
            raise KeyboardInterrupt
        return attacked(self, condition, batch)

    monkeypatch.setattr(TransferRun, "_attacked", fail_at_the_seventh)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert not broken.finished()
    again = make("broken", methods=[*METHODS, "apgd", "square"], queries=3, eps=[0.5])
    finish(again)
    done = [call for call in calls if calls.count(call) > 1]
    assert set(done) == {calls[6]} and len(calls) == len(whole.plan) * 5 + 1
    assert files(again.output_dir) == files(whole.output_dir)
    assert files(again.output_dir, "*.jsonl") == files(whole.output_dir, "*.jsonl")


@pytest.mark.parametrize("train_mode", [False, True])
def test_shards_give_what_one_job_gives(make, train_mode):
    one = make("one", train_mode=train_mode)
    finish(one)
    for shard in (3, 1, 2):
        run = make("three", train_mode=train_mode)
        assert not run.finished()
        run.run(shard, 3)
    run.collect()
    assert files(run.output_dir) == files(one.output_dir)


def test_nothing_is_attacked_twice(make, monkeypatch, caplog):
    run = make(methods=["noise"])
    finish(run)
    monkeypatch.setattr(TransferRun, "_attacked", None)
    caplog.set_level(logging.INFO)
    finish(make(methods=["noise"]))
    assert f"{len(run.plan)} finished" in caplog.text


def test_the_directory_of_another_attack_is_refused(make, models):
    finish(make())
    for change in ({"steps": 3}, {"targets": {"lcnn": models["lcnn"]}}, {"source": "senet"}):
        with pytest.raises(InputError, match="another attack"):
            make(**change)
    make()


def test_every_eps_is_stated_in_all_units(make):
    run = make(eps=[0.5, 2.0], unit="std")
    stated = read_json(run.output_dir / "attack.json")
    # Features are normalised by variance: a deviation is 1.
    assert stated["eps_std"] == pytest.approx({"0.5": 0.5, "2": 2.0})
    assert stated["eps_raw"]["2"] == pytest.approx(2.0, rel=0.02)
    assert stated["eps_db"]["2"] == pytest.approx(4 * stated["eps_db"]["0.5"])
    assert stated["settings"]["unit"] == "std" and len(stated["space"]["std"]) == DIMS
    finish(run)
    stated = read_json(run.output_dir / "attack.json")
    for method in METHODS:
        assert stated[f"snr_{method}"]["0.5"] > stated[f"snr_{method}"]["2"]
    assert "snr_clean" not in stated
    finish(make(eps=[0.5, 2.0], unit="std"))
    assert read_json(run.output_dir / "attack.json") == stated


def test_an_epsilon_in_decibels_moves_by_decibels(make):
    run = make(methods=["noise"], eps=[3.0], unit="db")
    finish(run)
    radius = 3.0 / np.array(read_json(run.output_dir / "attack.json")["space"]["decibels"])
    rows = [r for r in read_jsonl(run.output_dir / "attack_log.jsonl") if r["eps"]]
    assert all(row["largest"] == pytest.approx(radius.max(), rel=1e-4) for row in rows)


def test_all_shards_share_the_scale_of_the_file(make):
    first = make(unit="std")
    path = first.output_dir / "attack.json"
    values = read_json(path)
    values["space"]["std"] = [3.0] * DIMS
    path.write_text(json.dumps(values))
    assert make(unit="std").space.std.tolist() == [3.0] * DIMS


def test_features_are_kept_where_asked(make, models):
    run = make(methods=["noise"], eps=[0.1], keep=True)
    finish(run)
    kept = kaldiio.load_scp(str(run.output_dir / "kept/noise/eps0.1/feats.scp"))
    assert sorted(kept) == [trial.name for trial in run.trials]
    scores = read_scores(run.output_dir / "senet/noise/eps0.1/scores.txt")
    for row in scores:
        feats = kept[row.utterance]
        assert feats.dtype == np.float32 and feats.shape[1] == DIMS
        inputs = torch.tensor(feats).unsqueeze(0), torch.tensor([len(feats)])
        with torch.no_grad():
            expected = float(models["senet"].scores(models["senet"].logits(*inputs)))
        assert row.score == pytest.approx(expected, abs=1e-4)


def test_waveforms_are_attacked_and_kept(make):
    run = make(space="waveform", unit="raw", eps=[0.01], methods=["pgd", "noise"], keep=True)
    loss = {row["method"]: row["source_loss"] for row in finish(run)}
    assert loss["pgd"] > loss["clean"]
    stated = read_json(run.output_dir / "attack.json")
    assert stated["eps_dbfs"] == {"0.01": pytest.approx(-40.0)} and "space" not in stated
    kept = read_table(run.output_dir / "kept/pgd/eps0.01/wav.scp")
    rows = [r for r in read_jsonl(run.output_dir / "attack_log.jsonl") if r["method"] == "pgd"]
    for trial in run.trials:
        clean, moved = read_audio(trial.path)[0], read_audio(kept[trial.name])[0]
        noise = moved.astype(np.float64) - clean
        assert 0.0 < np.abs(noise).max() <= 0.01
        row = next(r for r in rows if r["utterance"] == trial.name)
        expected = 20 * np.log10(np.linalg.norm(clean.astype(np.float64)) / np.linalg.norm(noise))
        assert row["snr"] == pytest.approx(expected, abs=1e-6)


def test_features_that_stand_for_no_waveform_have_no_ratio(data, tmp_path):
    net = cm_model(frontend="lfcc", frontend_conf={"fs": RATE})
    settings = CountermeasureAttackSettings.from_mapping({"methods": ["noise"], "eps": [0.1]})
    run = TransferRun(net, {"lfcc": net}, settings, read_trials(data, RATE), tmp_path / "run", {})
    assert {row["snr"] for row in finish(run)} == {None}


def test_features_of_a_fixed_number_of_frames(make):
    run = make(frames=25, methods=["fgsm"], eps=[0.1], keep=True)
    finish(run)
    kept = kaldiio.load_scp(str(run.output_dir / "kept/fgsm/eps0.1/feats.scp"))
    assert {kept[name].shape for name in kept} == {(25, DIMS)}


def test_the_upstream_attack_needs_an_upstream(make):
    run = make(source="median", methods=["upstream"], eps=[0.5])
    finish(run)
    with pytest.raises(InputError, match="needs a model with one between"):
        make("other", source="lcnn", methods=["upstream"])


def test_other_features_are_refused(make, models):
    with pytest.raises(InputError, match=r"target raw has other features .* standard deviations"):
        make(targets={"raw": model(variance=False)})
    narrow = model(dims=8)
    narrow.frontend.delta_window = 0
    with pytest.raises(InputError, match=r"target narrow has features of .* 8"):
        make(targets={"narrow": narrow})
    other = model()
    other.sample_rate = 16000
    with pytest.raises(InputError, match="target other takes 16000 Hz, the source 8000 Hz"):
        make(targets={"other": other})
    make("waves", targets={"raw": model(variance=False)}, space="waveform", unit="raw")


@pytest.mark.parametrize("name", ["a/b", ".a", "log", "attack.json", "a b", "", "x" * 300])
def test_a_target_whose_name_is_no_directory_is_refused(make, models, name):
    with pytest.raises(InputError, match="cannot be the name"):
        make(targets={name: models["lcnn"]})


def test_progress_says_passes_success_and_minutes_left(make, caplog):
    caplog.set_level(logging.INFO)
    run = make(methods=["pgd"], eps=[0.5])
    finish(run)
    said = [line for line in caplog.messages if "min left" in line]
    assert len(said) == 2 * len(run.plan)
    assert "pgd/eps0.5, 2 passes: the source is wrong about" in said[1] and "0.0 min" in said[-1]


def test_no_target_is_refused(make):
    with pytest.raises(InputError, match="at least one target"):
        make(targets={})


def test_the_log_of_a_batch_is_whole_or_absent(make, monkeypatch):
    run = make(methods=["noise"], eps=[0.1])

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(transfer, "write_log", fail)
    with pytest.raises(OSError, match="disk"):
        run.run()
    assert not run.finished() and not list(run.output_dir.glob("log/**/*.jsonl"))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_gradients_that_say_nothing_are_counted_and_stated(make, value, caplog):
    run = make(methods=["pgd", "apgd", "noise"], eps=[0.5])
    logits = run.estimator.logits

    def spoiled(inputs, lengths):
        return logits(inputs, lengths) + (inputs * value).sum() * inputs.requires_grad

    def flat(inputs, lengths):
        return logits(inputs.detach(), lengths) + 0.0 * inputs.sum()

    run.estimator.logits = flat if value == 0.0 else spoiled
    summary = {row["method"]: row for row in finish(run)}
    assert summary["pgd"]["stalled_utterances"] == 7
    assert summary["noise"]["stalled_utterances"] == summary["clean"]["stalled_utterances"] == 0
    assert read_json(run.output_dir / "attack.json")["utterances_without_gradient_pgd"] == {
        "0.5": 7
    }
    rows = read_jsonl(run.output_dir / "attack_log.jsonl")
    assert {r["stalled_steps"] for r in rows if r["method"] == "pgd"} == {2}
    assert "pgd/eps0.5: 2 of 2 utterances had steps without" in caplog.text


def test_a_directory_without_results_is_free(make):
    make(eps=[9.0], methods=["noise"])
    finish(make(eps=[0.5], methods=["noise"]))
    with pytest.raises(InputError, match="different: settings"):
        make(eps=[9.0], methods=["noise"])


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_attack_json_is_replaced_or_named(make, tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "attack.json").write_text(content)
    finish(make(eps=[0.5], methods=["noise"]))  # nothing was made with it
    (tmp_path / "run" / "attack.json").write_text(content)
    with pytest.raises(InputError, match=r"attack\.json.*run again"):
        make(eps=[0.5], methods=["noise"])


def test_an_output_directory_that_is_a_file_is_refused(make, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="is no directory"):
        make()
    assert (tmp_path / "run").read_text() == "mine"
