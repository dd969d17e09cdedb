"""What run.sh refuses before its first stage, and its help, where there is no Python at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = [
    "awk",
    "bash",
    "cat",
    "cut",
    "date",
    "dirname",
    "grep",
    "readlink",
    "sed",
    "sort",
    "tr",
    "uniq",
]
RECIPES = ("mini/mtl_asr1", "mini/cm1", "mini/ssl1", "speechocean762/sv1")


@pytest.fixture(scope="module")
def without_python(tmp_path_factory):
    """A directory for PATH that has the programs of the shell and nothing else."""
    folder = tmp_path_factory.mktemp("bin")
    for name in PROGRAMS:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def run(recipe, path, *options):
    command = ["bash", "./run.sh", *options]
    environment = {"PATH": str(path), "HOME": os.environ.get("HOME", "/")}
    folder = ROOT / "egs2" / recipe
    before = sorted(folder.iterdir())
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert sorted(folder.iterdir()) == before
    return done


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_needs_no_environment(without_python, recipe):
    done = run(recipe, without_python, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Stages:" in done.stdout and "stop_stage=" in done.stdout


ALL = [
    *[("--stage", value) for value in ("abc", "1.5", "-1", "", "0", "12", "01", "1 2", "9" * 30)],
    *[("--stop_stage", value) for value in ("abc", "12", "0", "")],
    *[
        (name, value)
        for name in ("--nj", "--num_nodes", "--fs")
        for value in ("0", "-2", "x", "", "08")
    ],
    *[("--ngpu", value) for value in ("-1", "x", "")],
    *[("--min_seconds", value) for value in ("short", "-1", "", "40", "inf")],
    *[("--max_seconds", value) for value in ("long", "-1", "", "0", "nan")],
    *[("--expdir", value) for value in ("", "a b", "run.sh")],
    *[("--train_set", value) for value in ("", "dev", "a b", "a/b", "a,b")],
    ("--dumpdir", ""),
    ("--inference_model", ""),
    ("--inference_model", "best"),
    ("--inference_model", "exp/valid.loss.best.pth"),
    ("--train_args", "max_epoch 1"),
    ("--format_args", "drop_bad_audio true"),
    ("--train_args", "--optim 'adam"),
]
SOME = {
    "mini/mtl_asr1": [
        *[("--seeds", value) for value in ("", " ", "a", "0 -1", "0 1 0", "1.5")],
        *[("--test_set", value) for value in ("", "train", "test test2")],
        *[("--attack_shards", value) for value in ("0", "-2", "x")],
        *[("--nbpe", value) for value in ("0", "x")],
        *[("--heads", value) for value in ("accent,gender", "accent accent", "ac/cent")],
        ("--token_type", "phn"),
        ("--token_type", ""),
        ("--num_attack_utts", "-1"),
        ("--interval_unit", "session"),
        ("--target_length_unit", "phone"),
        ("--feats_normalize", "batch"),
        ("--target_set", "absent.txt"),
        ("--sweep", "conf/absent.yaml"),
        ("--train_config", "conf"),
    ],
    "mini/cm1": [
        ("--seeds", ""),
        ("--test_set", "dev"),
        ("--attack_shards", "0"),
        ("--ssl_train_set", "eval"),
        ("--attack_config", "conf/absent.yaml"),
        ("--models", "conf/absent.yaml"),
        ("--ssl_checkpoint", "absent.pth"),
        ("--whisper_checkpoint", "absent.pt"),
        ("--bonafide_sets", "fsdd eval"),
        ("--attack_args", "eps 1"),
    ],
    "mini/ssl1": [
        *[("--seed", value) for value in ("", "0 1", "x")],
        *[("--test_sets", value) for value in ("dev", "test test", "train")],
        ("--num_pictures", "-1"),
        ("--train_config", "absent.yaml"),
    ],
    "speechocean762/sv1": [
        ("--num_trials", "-1"),
        ("--attack_shards", "0"),
        ("--test_set", "a/b"),
        ("--trials", "absent"),
        ("--model_config", "conf/absent.yaml"),
        ("--attack_args", "goal both"),
        ("--countermeasure", "absent"),
    ],
}


@pytest.mark.parametrize(
    ("recipe", "option", "value"),
    [
        *[("mini/ssl1", *wrong) for wrong in ALL],
        *[(recipe, *wrong) for recipe, few in SOME.items() for wrong in few],
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(without_python, recipe, option, value):
    done = run(recipe, without_python, option, value)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "error: " in line and (option in line or option == "--train_set")
    assert value in line or "more than once" in line or "are both" in line


def test_weights_of_whisper_are_asked_for(without_python):
    done = run("speechocean762/mtl_asr1", without_python)
    assert done.returncode == 2 and "needs --whisper_checkpoint" in done.stderr
    done = run("speechocean762/mtl_asr1", without_python, "--whisper_checkpoint", "absent.pt")
    assert done.returncode == 2 and "there is no absent.pt" in done.stderr


def test_stages_go_forward(without_python):
    done = run("mini/cm1", without_python, "--stage", "9", "--stop_stage", "3")
    assert done.returncode == 2 and "--stage 9 is after --stop_stage 3" in done.stderr


def test_what_is_no_option_is_refused(without_python):
    done = run("mini/cm1", without_python, "--stage", "9", "surplus")
    assert done.returncode == 2 and "what is 'surplus'" in done.stderr


def environment_path():
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("recipe", "option", "text", "message"),
    [
        (
            "mini/mtl_asr1",
            "--sweep",
            "conditions: [[1.0, 0.5, 0.5], [1.0, 0.5]]",
            "condition 2: should",
        ),
        ("mini/cm1", "--models", "a: {architecture: lcnn, variant: mel, base: b}", "a: base 'b'"),
    ],
)
def test_a_wrong_list_is_refused_before_anything_runs(tmp_path, recipe, option, text, message):
    (tmp_path / "list.yaml").write_text(text)
    done = run(recipe, environment_path(), option, str(tmp_path / "list.yaml"))
    assert (done.returncode, done.stdout) == (1, "") and message in done.stderr


@pytest.mark.parametrize("option", ["--attack_sources", "--attack_targets"])
@pytest.mark.parametrize("value", ["", "lcnn_mel absent", "lcnn_mel lcnn_mel"])
def test_models_under_attack_are_in_the_list(option, value):
    done = run("mini/cm1", environment_path(), "--stage", "8", option, value)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {option}" in done.stderr


def test_several_machines_need_a_cluster():
    done = run("mini/ssl1", environment_path(), "--num_nodes", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--num_nodes 2, but cmd.sh runs jobs on this machine" in done.stderr


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("mini/mtl_asr1", ("--init_param", "absent.pth:encoder"), "there is no absent.pth"),
        ("mini/mtl_asr1", ("--pretrained", "absent.zip"), "there is no absent.zip"),
        ("mini/mtl_asr1", ("--transfer_from", "conf"), "there is no conf/attack.json"),
        ("mini/mtl_asr1", ("--stage", "6"), "--stage 3, with the same other options"),
        ("mini/cm1", ("--stage", "5"), "speech_shape; stage 3 makes it"),
        ("mini/cm1", ("--stage", "4"), "ssl_stats/train/speech_shape; stage 3 makes it"),
        ("mini/ssl1", ("--stage", "4"), "speech_shape; stage 3 makes it"),
        ("speechocean762/sv1", ("--stage", "4"), "results.json; stage 3 makes it"),
    ],
)
def test_files_that_are_not_there_are_refused(recipe, options, message):
    options = (*options, "--expdir", "absent_exp")
    done = run(recipe, environment_path(), *options)
    assert (done.returncode, done.stdout) == (2, "") and message in done.stderr


def test_what_a_later_stage_would_refuse_is_refused():
    options = ("--train_args", "--max_epok 1", "--attack_args", "--set epss=1")
    done = run("mini/mtl_asr1", environment_path(), *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean --max_epoch?" in done.stderr and "Traceback" not in done.stderr
    done = run("mini/cm1", environment_path(), "--stage", "8", "--attack_args", "--set epss=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'eps'?" in done.stderr and "--attack_args" in done.stderr
