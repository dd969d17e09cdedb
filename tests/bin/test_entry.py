"""`espnet-ext VERB`: the right command for the kind of model, its list, its completion."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import espnet_ext.bin
from espnet_ext.bin import entry
from espnet_ext.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    "asr": "encoder: conformer\n",
    "cm": "encoder: senet\nsegment_conf: {}\n",
    "ssl": "encoder: mockingjay\n",
}
# Called by scripts, not by people.
INNER = {"advice", "cli", "entry", "help_text", "training", "worker"} | {
    *("check_options", "claim", "run_jobs", "slurm_jobs")
}


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "espnet_ext", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture
def model(tmp_path):
    def model(kind):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "config.yaml").write_text(CONFIGS[kind])
        return str(folder)

    return model


def test_every_command_has_a_verb():
    listed = {module for verb in entry.VERBS.values() for module in verb.modules.values()}
    assert listed == {m.name for m in pkgutil.iter_modules(espnet_ext.bin.__path__)} - INNER


@pytest.mark.parametrize("name", entry.VERBS)
def test_every_verb_is_in_the_list_with_its_text(name):
    assert f"  {name} " in entry.usage() and entry.VERBS[name].text in entry.usage()


@pytest.mark.parametrize(
    ("verb", "kind", "module"),
    [
        ("infer", "asr", "asr_inference"),
        ("infer", "cm", "cm_inference"),
        ("attack", "asr", "asr_attack"),
        ("attack", "cm", "cm_attack"),
    ],
)
def test_the_kind_of_a_model_is_found_in_its_directory(model, verb, kind, module):
    words = ["--output_dir", "x", "--model", model(kind)]
    modules, rest = entry.chosen(verb, words)
    assert modules == [module]
    known = entry.options(module)
    assert [word for word in rest if word.startswith("--")][-1] in known
    told = entry.chosen(verb, ["--kind", kind, "--model", "absent"])
    assert told[0] == [module] and "--kind" not in told[1]


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_training_is_that_of_its_configuration(kind, tmp_path):
    (tmp_path / "base.yaml").write_text(CONFIGS[kind])
    (tmp_path / "train.yaml").write_text("base: base.yaml\nseed: 1\n")
    modules, rest = entry.chosen("train", ["--config", str(tmp_path / "train.yaml")])
    assert modules == [f"{kind}_train"] and rest[0] == "--config"


def test_the_kinds_of_all_configurations_of_the_recipes_are_found():
    tasks = {"mtl_asr1": "asr_train", "ssl1": "ssl_train"}
    for path in ROOT.glob("egs2/*/*/conf/train*.yaml"):
        expected = tasks.get(path.parts[-3], "ssl_train" if "ssl" in path.name else "cm_train")
        assert entry.chosen("train", ["--config", str(path)])[0] == [expected], path


def test_an_option_of_one_kind_tells_the_kind():
    assert entry.chosen("results", ["--models", "x"])[0] == ["cm_report"]
    assert entry.chosen("results", ["--conditions", "x"])[0] == ["asr_report"]
    assert entry.chosen("infer", ["--cm_train_config", "x"])[0] == ["cm_inference"]


def test_what_is_unclear_is_refused(model):
    with pytest.raises(InputError, match="which kind of model"):
        entry.chosen("infer", ["--batch_size", "3"])
    with pytest.raises(InputError, match="infer is for models of kind asr or cm, not ssl"):
        entry.chosen("infer", ["--model", model("ssl")])
    with pytest.raises(InputError, match="no such"):
        entry.chosen("infer", ["--model", "absent"])
    with pytest.raises(InputError, match="give bash or zsh"):
        entry.completion(["fish"])


def test_commands_run_under_their_new_names():
    assert run("--version").stdout == f"espnet-ext {espnet_ext.__version__}\n"
    assert run().stdout == run("--help").stdout == entry.usage() + "\n"
    both = run("infer", "--help")
    assert both.returncode == 0 and both.stdout.count("usage: espnet-ext infer") == 2
    unknown = run("atack")
    assert unknown.returncode == 1 and "no command 'atack'" in unknown.stderr
    wrong = run("list", "sweep", "absent.yaml")
    assert wrong.returncode == 1 and wrong.stderr == "error: absent.yaml: no such list\n"
    listed = run("list", "sweep", "egs2/mini/mtl_asr1/conf/sweep.yaml", "--heads", "accent")
    assert listed.stdout.startswith("1.0\t0.0\t0.0\t-\t")
    assert "usage: espnet-ext data format" in run("data", "format", "--help").stdout
    assert "copy" in run("data", "--help").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["inf"], {"infer"}),
        (["data", "fo"], {"format"}),
        (["data", "val"], {"validate"}),
        (["data", "format", "--resam"], {"--resample"}),
        (["infer", "--model", "exp/x", "--ou"], {"--output", "--output_dir"}),
        (["train", "--con"], {"--config"}),
    ],
)
def test_the_shell_completes_commands_and_options(words, expected):
    typed = " ".join(["espnet-ext", *words])
    script = (
        f"COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _espnet_ext\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "-c", entry.completion(["bash"]) + script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (set(done.stdout.split()), done.stderr) == (expected, "")
    assert entry.completion(["zsh"]).endswith(entry.completion(["bash"]))


def test_the_entry_point_is_installed():
    assert '"espnet-ext = espnet_ext.bin.entry:main"' in (ROOT / "setup.py").read_text()
    assert callable(importlib.import_module("espnet_ext.bin.entry").main)
