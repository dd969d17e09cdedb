"""Training, loading and scoring on tones, called as `python -m` calls them."""

import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from tiny_cm import cm_config, cm_model, save_countermeasure, write_tones

from espnet_ext.bin import cm_attack, cm_inference, cm_train
from espnet_ext.cm.scores import by_key, read_scores
from espnet_ext.data.files import read_json, read_jsonl
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError
from espnet_ext.metrics.eer import equal_error_rate

TRAINING = {
    "optim": "adam",
    "optim_conf": {"lr": 3.0e-3, "amsgrad": True},
    "batch_size": 8,
    "max_epoch": 3,
    "num_workers": 0,
    "use_tensorboard": False,
    "use_matplotlib": False,
    "use_amp": False,
    "keep_nbest_models": 1,
    "segment_conf": {"num_frames": 30},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_tones(folder / "train", 48, seed=1, bonafide_every=4)
    write_tones(folder / "dev", 16, seed=2)
    write_tones(folder / "eval", 14, seed=3)
    return folder


def data_options(data, train="train"):
    options = []
    for part, name in (("train", train), ("valid", "dev")):
        for file in ("wav.scp,speech,sound", "utt2label,label,text"):
            options += [f"--{part}_data_path_and_name_and_type", f"{data / name}/{file}"]
        options += [f"--{part}_shape_file", str(data / name / "wav.scp")]
    return options


def call(monkeypatch, command, *options):
    monkeypatch.setattr(sys, "argv", [command.__file__, *map(str, options)])
    command.main()


def train(monkeypatch, data, output, config, *options):
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump(config))
    files = ("--config", path, "--output_dir", output)
    call(monkeypatch, cm_train, *files, *data_options(data), "--ngpu", "0", *options)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A filter, global statistics and a SENet, trained on a quarter of bona fide speech."""
    folder = tmp_path_factory.mktemp("exp")
    with pytest.MonkeyPatch.context() as patch:
        config = {**cm_config(normalize="none"), **TRAINING}
        train(patch, data, folder / "stats", config, "--collect_stats", "true")
        config |= {
            "normalize": "global",
            "normalize_conf": {"stats_file": str(folder / "stats/train/feats_stats.npz")},
            "defense": "filter",
            "specaug": "specaug",
            "specaug_conf": {"apply_time_warp": False, "time_mask_width_range": [0, 4]},
        }
        train(patch, data, folder / "cm", config)
    return folder / "cm"


def score(monkeypatch, model, data, output, *options):
    files = ("--cm_train_config", model[0], "--cm_model_file", model[1])
    call(monkeypatch, cm_inference, *files, "--data_dir", data, "--output", output, *options)
    return output


def test_statistics_are_collected(data, trained):
    stats = np.load(trained.parent / "stats/train/feats_stats.npz")
    assert stats["sum"].shape == (20,)
    shapes = read_table(trained.parent / "stats/train/speech_shape")
    assert set(shapes) == set(read_table(data / "train/wav.scp"))


def test_training_learns_and_chooses_on_development_data(trained):
    best = (trained / "valid.eer.best.pth").resolve()
    assert best.name.endswith("epoch.pth")
    state = torch.load(trained / "checkpoint.pth", weights_only=False)["reporter"]
    valid = state["stats"][3]["valid"]
    assert set(valid) >= {"loss", "eer", "cross_entropy", "acc_balanced", "acc_spoof"}
    assert valid["eer"] <= 0.1
    assert state["stats"][3]["train"]["acc_spoof"] > 0.6


def test_trained_model_separates_unseen_tones(monkeypatch, data, trained, tmp_path):
    model = (trained / "config.yaml", trained / "valid.eer.best.pth")
    rows = read_scores(score(monkeypatch, model, data / "eval", tmp_path / "scores.txt"))
    assert [row.utterance for row in rows] == sorted(read_table(data / "eval/wav.scp"))
    labels, attacks = (read_table(data / f"eval/utt2{name}") for name in ("label", "attack"))
    assert all((r.key, r.attack) == (labels[r.utterance], attacks[r.utterance]) for r in rows)
    assert equal_error_rate(by_key(rows, "bonafide"), by_key(rows, "spoof")).rate <= 0.1


def test_training_goes_on_where_it_was_and_only_with_its_configuration(
    monkeypatch, data, trained, tmp_path
):
    output = tmp_path / "cm"
    shutil.copytree(trained, output, symlinks=True)
    config = yaml.safe_load((trained.parent / "cm.yaml").read_text())
    train(monkeypatch, data, output, config | {"max_epoch": 4}, "--resume", "true")
    state = torch.load(output / "checkpoint.pth", weights_only=False)["reporter"]
    assert sorted(state["stats"]) == [1, 2, 3, 4]
    with pytest.raises(InputError, match="segment_conf"):
        other = {"max_epoch": 5, "segment_conf": {"num_frames": 31}}
        train(monkeypatch, data, output, config | other, "--resume", "true")


def test_both_classes_were_offered_equally(data, trained):
    in_data = (data / "train/category2utt").read_text().splitlines()
    seeded = (trained / "category2utt").read_text().splitlines()
    members = [[sorted(line.split()) for line in lines] for lines in (in_data, seeded)]
    assert members[0] == members[1]
    assert len({len(line.split()) for line in in_data}) == 1
    assert in_data != seeded


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrained")
    return save_countermeasure(cm_model(), cm_config(), folder)


def attack(monkeypatch, model, data, output, *options):
    config = output.parent / "attack.yaml"
    config.write_text("methods: [pgd]\neps: [0.1]\nunit: raw\nworst_steps: 2\nguesses: 1\n")
    files = ("--source_config", model[0], "--source_checkpoint", model[1])
    target = ("--target", f"itself={model[0]},{model[1]}", "--data_dir", data / "eval")
    rest = ("--config", config, "--output_dir", output, "--ngpu", "0")
    call(monkeypatch, cm_attack, *files, *target, *rest, *options)


def test_the_worst_case_is_decided_by_the_threshold_of_given_scores(
    monkeypatch, data, trained, tmp_path
):
    model = (trained / "config.yaml", trained / "valid.eer.best.pth")
    dev = score(monkeypatch, model, data / "dev", tmp_path / "dev.txt")
    attack(monkeypatch, model, data, tmp_path / "out", "--worst", "--dev_scores", dev)
    rows = read_scores(dev)
    point = equal_error_rate(by_key(rows, "bonafide"), by_key(rows, "spoof")).threshold
    settings = read_json(tmp_path / "out/attack.json")["settings"]
    assert settings["threshold"] == point and {*settings["methods"]} == {"worst", "noise"}
    for row in read_jsonl(tmp_path / "out/attack_log.jsonl"):
        assert row["reached"] == ((row["score"] > point) != (row["key"] == "bonafide"))


def test_the_worst_case_transfers_from_a_surrogate(monkeypatch, trained, data, tmp_path):
    model = (trained / "config.yaml", trained / "valid.eer.best.pth")
    weights = torch.load(model[1], weights_only=True)
    weights["loss.linear.bias"] += 1.0  # another model of the same features
    torch.save(weights, tmp_path / "other.pth")
    surrogate = ("--surrogate_config", model[0], "--surrogate_checkpoint", tmp_path / "other.pth")
    with pytest.raises(InputError, match="worst"):
        attack(monkeypatch, model, data, tmp_path / "out", *surrogate)
    attack(monkeypatch, model, data, tmp_path / "out", "--worst", *surrogate)
    models = read_json(tmp_path / "out/attack.json")["models"]
    assert [*models] == ["(source)", "itself", "(surrogate)"]
    assert models["(surrogate)"] != models["(source)"] == models["itself"]
    rows = read_jsonl(tmp_path / "out/attack_log.jsonl")
    assert all([*row["answers"]] == ["itself"] for row in rows)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "dev.txt: no such"),
        ("u1 - bonafide\n", "dev.txt:1: .*columns"),
        ("u1 - bonafide 0.5\n", "no spoof"),
    ],
)
def test_scores_without_a_threshold_are_refused(
    monkeypatch, data, untrained, tmp_path, lines, message
):
    if lines is not None:
        (tmp_path / "dev.txt").write_text(lines)
    with pytest.raises(InputError, match=message):
        dev = tmp_path / "dev.txt"
        attack(monkeypatch, untrained, data, tmp_path / "out", "--dev_scores", dev)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("parts", [2, 5, 9])
def test_parts_together_are_the_same_file(monkeypatch, untrained, data, tmp_path, parts):
    whole = score(monkeypatch, untrained, data / "eval", tmp_path / "a.txt", "--batch_size", 3)
    for part in range(parts, 0, -1):
        assert not (tmp_path / "b.txt").exists()
        options = ("--batch_size", 3, "--shard", f"{part}/{parts}")
        score(monkeypatch, untrained, data / "eval", tmp_path / "b.txt", *options)
    assert (tmp_path / "b.txt").read_bytes() == whole.read_bytes()


def test_part_of_an_earlier_run_is_not_mixed_in(monkeypatch, untrained, data, tmp_path):
    output = tmp_path / "scores.txt"
    for part in (1, 2, 1):
        (tmp_path / "before").write_bytes(output.read_bytes() if output.exists() else b"")
        score(monkeypatch, untrained, data / "eval", output, "--shard", f"{part}/2")
    assert output.read_bytes() == (tmp_path / "before").read_bytes()
    with pytest.raises(InputError):
        score(monkeypatch, ("absent.yaml", "x"), data / "eval", output, "--shard", "1/2")
    with pytest.raises(InputError):
        score(monkeypatch, untrained, data / "absent", output)
    # Bad input destroys nothing.
    assert output.read_bytes() == (tmp_path / "before").read_bytes()


def test_part_of_another_model_or_of_other_audio_is_not_mixed_in(
    monkeypatch, untrained, data, tmp_path, caplog
):
    other = save_countermeasure(cm_model(seed=5), cm_config(), tmp_path / "other")
    output = tmp_path / "scores.txt"
    score(monkeypatch, other, data / "eval", output, "--shard", "2/2")
    score(monkeypatch, untrained, data / "eval", output, "--shard", "1/2")
    assert not output.exists() and "2of2.txt is of another model or audio" in caplog.text
    score(monkeypatch, untrained, data / "eval", output, "--shard", "2/2")
    assert output.exists()
    part = tmp_path / "scores.1of2.txt"
    part.write_text("".join(part.read_text().splitlines(keepends=True)[:-1]))
    score(monkeypatch, untrained, data / "eval", output, "--shard", "2/2")
    assert not output.exists() and "1of2.txt is of another" in caplog.text


def test_several_sets_are_scored_by_one_command(monkeypatch, untrained, data, tmp_path):
    one, both = tmp_path / "one.txt", [tmp_path / "train.txt", tmp_path / "eval.txt"]
    score(monkeypatch, untrained, data / "eval", one)
    files = ("--cm_train_config", untrained[0], "--cm_model_file", untrained[1])
    sets = ("--data_dir", data / "train", data / "eval", "--output", *both)
    call(monkeypatch, cm_inference, *files, *sets)
    assert both[1].read_bytes() == one.read_bytes() != both[0].read_bytes()
    with pytest.raises(SystemExit):
        call(monkeypatch, cm_inference, *files, *sets[:-1])


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("utt2label", {"s0-u000": None}, "no label of utterance s0-u000"),
        ("utt2attack", {"s0-u003": "-", "s1-u001": None}, "s[01]-u00[13].*spoof without"),
        ("wav.scp", {"s0-u000": "absent.wav"}, "absent.wav.*s0-u000.*no such file"),
    ],
)
def test_data_that_cannot_be_scored_are_named(
    monkeypatch, untrained, data, tmp_path, table, change, message
):
    for path in (data / "eval").glob("*"):
        if path.suffix != ".wav":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    rows = {**read_table(tmp_path / table), **change}
    write_table(tmp_path / table, {k: v for k, v in rows.items() if v is not None})
    with pytest.raises(InputError, match=message):
        score(monkeypatch, untrained, tmp_path, tmp_path / "scores.txt")


def test_labels_are_checked_before_training(monkeypatch, data, tmp_path):
    for name in ("train", "dev"):
        (tmp_path / name).mkdir()
        for table in ("wav.scp", "utt2label"):
            (tmp_path / name / table).write_bytes((data / name / table).read_bytes())
    names = read_table(tmp_path / "dev/wav.scp")
    write_table(tmp_path / "dev/utt2label", dict.fromkeys(names, "spoof"))
    with pytest.raises(InputError, match=r"dev/utt2label: no utterance is labelled 'bonafide'"):
        train(monkeypatch, tmp_path, tmp_path / "out", {**cm_config(), **TRAINING})
    assert not (tmp_path / "out").exists()
