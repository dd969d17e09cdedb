"""A training that is killed anywhere goes on, and ends as if it had not been killed."""

import os
import resource
import shutil

import pytest
import torch
import yaml
from kill_points import forked, states
from tiny import RATE, noise, tiny_config
from tiny_cm import cm_config, write_tones
from tiny_mockingjay import tiny_config as mockingjay_config

from espnet_ext.data.audio import write_wav
from espnet_ext.data.kaldi import write_table
from espnet_ext.errors import InputError
from espnet_ext.tasks.countermeasure import CountermeasureTask
from espnet_ext.tasks.mockingjay import MockingjayTask
from espnet_ext.tasks.mtl_asr import MTLASRTask
from espnet_ext.tasks.trainer import CHECKPOINT, PREVIOUS, TrainingFiles

EPOCHS = int(os.environ.get("ESPNET_EXT_KILL_EPOCHS", 2))
"""Epochs of the trainings that are killed: at each file operation where it is set by hand."""
EVERY = 1 if "ESPNET_EXT_KILL_EPOCHS" in os.environ else 8
COMMON = {
    "num_workers": 0,
    "use_tensorboard": False,
    "use_matplotlib": False,
    "num_att_plot": 0,
    "ngpu": 0,
    "resume": True,
    "log_level": "WARNING",
}
MOCKINGJAY = {
    **mockingjay_config(),
    "crop_seconds": 0.4,
    "batch_type": "unsorted",
    "batch_size": 3,
    "optim_conf": {"lr": 0.01},
    "scheduler": "linearwarmupdecaylr",
    "scheduler_conf": {"total_steps": 24, "warmup": 0.5},
    "keep_nbest_models": 2,
}
COUNTERMEASURE = {
    **cm_config("lcnn", cm_loss="asoftmax"),
    "specaug": "specaug",
    "specaug_conf": {"apply_time_warp": False, "time_mask_width_range": [0, 4]},
    "optim": "adam",
    "optim_conf": {"lr": 3.0e-3},
    "batch_size": 8,
    "keep_nbest_models": [1, 2],
}
ASR = {
    **tiny_config(asr_weight=0.7, heads={"accent": ["a", "b"]}),
    "batch_type": "unsorted",
    "batch_size": 3,
    "optim": "adam",
    "optim_conf": {"lr": 3.0e-3},
    "scheduler": "warmuplr",
    "scheduler_conf": {"warmup_steps": 5},
    "specaug": "specaug",
    "specaug_conf": {"apply_time_warp": True, "apply_time_mask": False},
    "best_model_criterion": [["valid", "acc", "max"]],
    "nbest_averaging_interval": 2,
    "keep_nbest_models": 2,
}
KINDS = {
    "mockingjay": (MockingjayTask, MOCKINGJAY, {"wav.scp": "speech,sound"}),
    "countermeasure": (
        CountermeasureTask,
        COUNTERMEASURE,
        {"wav.scp": "speech,sound", "utt2label": "label,text"},
    ),
    "mtl_asr": (
        MTLASRTask,
        ASR,
        {"wav.scp": "speech,sound", "text": "text,text", "utt2accent": "accent,text"},
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Noise with transcripts and accents, and tones with labels."""
    folder = tmp_path_factory.mktemp("data")
    tables = {"wav.scp": {}, "text": {}, "utt2accent": {}}
    for number, samples in enumerate(noise(4000, 5200, 3600, 8100, 4400, 3900)):
        name = f"u{number}"
        write_wav(folder / f"{name}.wav", samples, RATE)
        tables["wav.scp"][name] = str(folder / f"{name}.wav")
        tables["text"][name] = "one two"
        tables["utt2accent"][name] = "ab"[number % 2]
    for name, table in tables.items():
        write_table(folder / name, table)
    write_tones(folder / "tones", 16)
    return folder


def train(data, kind, output, *options, max_epoch=EPOCHS, **changes):
    """A training as the command runs it."""
    task, config, tables = KINDS[kind]
    folder = data / "tones" if kind == "countermeasure" else data
    path = data / f"{kind}.yaml"
    path.write_text(yaml.safe_dump({**config, **COMMON, "max_epoch": max_epoch, **changes}))
    files = ["--config", str(path), "--output_dir", str(output)]
    for part in ("train", "valid"):
        for table, what in tables.items():
            files += [f"--{part}_data_path_and_name_and_type", f"{folder / table},{what}"]
        files += [f"--{part}_shape_file", str(folder / "wav.scp")]
    task.main(cmd=[*files, *options])


def outcome(directory):
    """Bytes or target of every file; of the state, what is not the time that it took."""
    found = {
        path.name: path.readlink() if path.is_symlink() else path.read_bytes()
        for path in directory.iterdir()
    }
    config = found["config.yaml"].decode().replace(f"output_dir: {directory}\n", "")
    state = TrainingFiles(directory).load(directory / CHECKPOINT)
    for epoch in state["reporter"]["stats"].values():
        for part in epoch.values():
            for key in [k for k in part if "time" in k]:
                del part[key]
    found |= {CHECKPOINT: repr(_plain(state)), PREVIOUS: b"", "config.yaml": config}
    return found


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("kind", KINDS)
def test_no_kill_changes_what_a_training_ends_with(data, kind, tmp_path):
    exp, undisturbed = tmp_path / "exp", tmp_path / "undisturbed"
    # In this process, so that its children need not prepare ESPnet's functions again.
    train(data, kind, undisturbed)
    copies = states(exp, tmp_path / "killed", lambda: train(data, kind, exp))
    expected = outcome(undisturbed)
    assert f"{EPOCHS}epoch.pth" in expected and len(copies) > 10 * EPOCHS
    changed = {}
    for copy in copies[list(KINDS).index(kind) :: EVERY]:
        shutil.rmtree(exp)
        copy.rename(exp)
        if forked(train, data, kind, exp):
            changed[copy.name] = "ended with an error"
        elif (found := outcome(exp)) != expected:
            names = sorted(set(found) | set(expected))
            changed[copy.name] = [name for name in names if found.get(name) != expected.get(name)]
    print(f"{kind}: {EPOCHS} epochs, {len(copies)} states, {len(changed)} lost or changed")
    assert not changed


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Three epochs of a Mockingjay."""
    directory = tmp_path_factory.mktemp("trained") / "exp"
    train(data, "mockingjay", directory, max_epoch=3)
    return directory


@pytest.fixture
def exp(trained, tmp_path):
    """The same, to be changed."""
    shutil.copytree(trained, tmp_path / "exp", symlinks=True)
    return tmp_path / "exp"


def garbage(path):
    path.write_bytes(bytes(range(1, 256)) * 50)


def cut(share):
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


@pytest.mark.parametrize("damage", [cut(0), cut(0.5), cut(0.999), garbage])
def test_a_damaged_state_costs_one_epoch(data, trained, exp, damage, caplog):
    damage(exp / CHECKPOINT)
    train(data, "mockingjay", exp, max_epoch=3)
    assert outcome(exp) == outcome(trained)
    said = [r.message for r in caplog.records if CHECKPOINT in r.message]
    assert len(said) == 1 and "goes on from epoch 2" in said[0]


def test_without_a_whole_state_nothing_begins_anew_in_silence(data, exp):
    weights = (exp / "3epoch.pth").read_bytes()
    for name in (CHECKPOINT, PREVIOUS):
        cut(0.5)(exp / name)
    with pytest.raises(InputError, match=rf"{CHECKPOINT}: .*damaged.*remove it"):
        train(data, "mockingjay", exp, max_epoch=4)
    assert (exp / "3epoch.pth").read_bytes() == weights


@pytest.mark.parametrize("damage", [cut(0.5), os.remove])
def test_the_last_weights_are_restored_from_the_state(data, trained, exp, damage):
    damage(exp / "3epoch.pth")
    train(data, "mockingjay", exp, max_epoch=3)
    assert outcome(exp) == outcome(trained)


def test_averages_are_made_of_whole_weights_only(data, exp, caplog):
    train(data, "mockingjay", exp, max_epoch=4, keep_nbest_models=3)
    numbers = sorted(int(path.name[0]) for path in exp.glob("?epoch.pth"))
    lost, others = numbers[0], numbers[1:]
    cut(0.5)(exp / f"{lost}epoch.pth")
    caplog.clear()
    train(data, "mockingjay", exp, max_epoch=4, keep_nbest_models=3)
    assert any(f"without epoch {lost}" in record.message for record in caplog.records)
    average, *parts = (
        torch.load(exp / name, weights_only=True)["encoder.project.weight"]
        for name in ("valid.loss.ave.pth", *(f"{number}epoch.pth" for number in others))
    )
    torch.testing.assert_close(average, sum(parts) / len(parts))


class Runs:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", [CHECKPOINT, "3epoch.pth"])
def test_a_state_that_could_run_code_is_read_only_if_that_is_said(data, exp, tmp_path, name):
    state = torch.load(exp / name, weights_only=False)
    torch.save({**state, "more": Runs(tmp_path / "ran")}, exp / name)
    with pytest.raises(InputError, match=rf"{name}: .*can run any code.*--allow_pickle true"):
        train(data, "mockingjay", exp, max_epoch=3)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_is_allowed_by_the_command_line_alone(data, exp, tmp_path):
    state = torch.load(exp / CHECKPOINT, weights_only=False)
    torch.save({**state, "more": Runs(tmp_path / "ran")}, exp / CHECKPOINT)
    with pytest.raises(InputError, match=r"allow_pickle: only the command line"):
        train(data, "mockingjay", exp, max_epoch=3, allow_pickle=True)
    assert not (tmp_path / "ran").exists()
    train(data, "mockingjay", exp, "--allow_pickle", "true", max_epoch=3)
    assert (tmp_path / "ran").exists()


def test_a_full_disk_is_told_and_the_rerun_goes_on(data, trained, tmp_path):
    exp = tmp_path / "exp"
    train(data, "mockingjay", exp, max_epoch=1)
    whole = (exp / CHECKPOINT).read_bytes()
    (exp / "valid.loss.ave_1best.pth").unlink()  # a training of three epochs has none

    def train_with_little_space():
        limit = len(whole) // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(InputError, match="no space left"):
            train(data, "mockingjay", exp, max_epoch=3)

    assert forked(train_with_little_space) == 0
    assert (exp / CHECKPOINT).read_bytes() == whole
    train(data, "mockingjay", exp, max_epoch=3)
    assert outcome(exp) == outcome(trained)


def test_a_training_that_has_stopped_early_is_not_prolonged(data, exp):
    state = torch.load(exp / CHECKPOINT, weights_only=False)
    for number, epoch in state["reporter"]["stats"].items():
        epoch["valid"]["loss"] = float(number)
    torch.save(state, exp / CHECKPOINT)
    train(data, "mockingjay", exp, max_epoch=9, patience=1)
    assert not (exp / "4epoch.pth").exists()
