import argparse
import subprocess
import sys

import pytest
import yaml

from espnet_ext.errors import InputError
from espnet_ext.tasks.configuration import CarefulTask
from espnet_ext.tasks.resume import check_same_configuration


@pytest.fixture
def training(tmp_path):
    (tmp_path / "checkpoint.pth").touch()
    settings = {"optim_conf": {"lr": 0.001}, "seed": 0, "max_epoch": 3, "ngpu": 0, "resume": True}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**settings, "data": [["a", "b"]]}))
    return {**settings, "data": [("a", "b")], "output_dir": str(tmp_path)}


def test_same_settings_go_on(training):
    check_same_configuration(argparse.Namespace(**training))


def test_how_a_training_is_run_may_change(training):
    check_same_configuration(argparse.Namespace(**{**training, "ngpu": 2, "max_epoch": 30}))


@pytest.mark.parametrize(("key", "value"), [("seed", 1), ("optim_conf", {"lr": 0.1})])
def test_what_is_trained_may_not(training, key, value):
    with pytest.raises(InputError, match=rf"{key}: .* -> "):
        check_same_configuration(argparse.Namespace(**{**training, key: value}))


def test_directory_without_a_training_is_free(training, tmp_path):
    (tmp_path / "checkpoint.pth").unlink()
    check_same_configuration(argparse.Namespace(**{**training, "seed": 1}))


def test_training_that_starts_anew_may_differ(training):
    check_same_configuration(argparse.Namespace(**{**training, "seed": 1, "resume": False}))


def test_two_processes_do_not_train_in_one_directory(tmp_path):
    program = (
        "import sys, time; from espnet_ext.data.locks import locked\n"
        "with locked(sys.argv[1]): print('has it', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "train")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        args = argparse.Namespace(
            output_dir=str(tmp_path / "train"), distributed=False, allow_pickle=False
        )
        with pytest.raises(InputError, match=f"process {other.pid} on host"):
            CarefulTask.main_worker(args)
        other.kill()
    assert not (tmp_path / "train").exists()
