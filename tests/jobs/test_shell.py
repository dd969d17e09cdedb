"""The shell that recipes share, run by bash as recipes run it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]
COMMON = ROOT / "egs2" / "TEMPLATE" / "common"
PARSE = f". {COMMON}/utils/parse_options.sh"


def bash(script: str, *arguments: str, cwd: Path | None = None, **variables: str):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}", "run.sh", *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "cmd_backend": "", **variables},
        capture_output=True,
        text=True,
    )


def parse(*arguments: str, script: str = "") -> "subprocess.CompletedProcess[str]":
    defaults = "stage=1; stop_stage=9; use_lm=false; name=; help_message='Usage:\\n --stage N'"
    show = 'echo "$stage|$stop_stage|$use_lm|$name|$*"'
    return bash(f"{defaults}\n{script}\n{PARSE}\n{show}", *arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "1|9|false||"),
        (["--stage", "3", "--stop-stage", "4"], "3|4|false||"),
        (["--stop_stage", "4", "--use-lm", "true"], "1|4|true||"),
        (["--name", "a  b $HOME \"q'", "x"], "1|9|false|a  b $HOME \"q'|x"),
        (["--name", "--max_epoch 3"], "1|9|false|--max_epoch 3|"),
        (["--name", "-1"], "1|9|false|-1|"),
        (["--name", "", "x"], "1|9|false||x"),
        (["--stage", "2", "a", "--stage", "3"], "2|9|false||a --stage 3"),
    ],
)
def test_options_set_variables(arguments, expected):
    done = parse(*arguments)
    assert (done.stdout, done.stderr, done.returncode) == (expected + "\n", "", 0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--stages", "3"], "run.sh: unknown option '--stages'; --help may list them"),
        (["--stage"], "run.sh: option '--stage' needs a value"),
        (["--stage", "--use-lm", "true"], "run.sh: option '--stage' needs a value"),
        (["--use_lm", "yes"], "run.sh: option '--use_lm' must be true or false, not 'yes'"),
        (["--stage=3"], "run.sh: write '--stage 3' instead of '--stage=3'"),
        (["--a;b", "3"], "run.sh: unknown option '--a;b'; --help may list them"),
        (["--config", "none"], "run.sh: --config: cannot read 'none'"),
        (["--config"], "run.sh: option '--config' needs a value"),
    ],
)
def test_bad_options_end_the_script(arguments, expected):
    done = parse(*arguments)
    assert (done.stdout, done.stderr, done.returncode) == ("", expected + "\n", 1)


def test_help_is_printed():
    done = parse("--stage", "3", "--help")
    assert (done.stdout, done.returncode) == ("Usage:\n --stage N\n", 0)


def test_the_command_line_beats_the_configuration(tmp_path):
    (tmp_path / "c.sh").write_text("stage=5\nstop_stage=6\n")
    done = parse("--stage", "2", "--config", f"{tmp_path}/c.sh", "x")
    assert done.stdout == "2|6|false||x\n"


def test_parsing_leaves_nothing_behind():
    done = bash(f"{PARSE}; compgen -A variable _po_ || true; compgen -A function _po_ || true")
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.fixture
def recipe(tmp_path):
    """A recipe in a repository of its own, made by setup.sh."""
    template = tmp_path / "egs2" / "TEMPLATE"
    shutil.copytree(COMMON, template / "common")
    (template / "mtl_asr1").mkdir()
    (template / "mtl_asr1" / "mtl_asr.sh").write_text("echo main\n")
    (tmp_path / "espnet_ext").symlink_to(ROOT / "espnet_ext")
    directory = tmp_path / "egs2" / "tiny" / "mtl_asr1"
    for _ in range(2):
        done = bash(f"{template}/common/setup.sh {directory}")
        assert (done.stderr, done.returncode) == ("", 0)
    return directory


def test_setup_makes_relative_links(recipe):
    links = {p.name: str(p.readlink()) for p in recipe.iterdir() if p.is_symlink()}
    common = "../../TEMPLATE/common"
    assert links == {
        **{name: f"{common}/{name}" for name in ("cmd.sh", "path.sh", "db.sh", "utils")},
        "mtl_asr.sh": "../../TEMPLATE/mtl_asr1/mtl_asr.sh",
    }
    assert all((recipe / name).exists() for name in links)
    assert (recipe / "conf").is_dir() and (recipe / "local").is_dir()


def test_setup_overwrites_no_file(recipe):
    other = recipe.parent / "cm1"
    other.mkdir()
    (other / "cmd.sh").write_text("mine")
    done = bash(f"{COMMON}/setup.sh {other}")
    assert done.returncode == 1 and "would overwrite" in done.stderr
    assert [path.name for path in other.iterdir()] == ["cmd.sh"]
    assert (other / "cmd.sh").read_text() == "mine"


def test_setup_refuses_what_is_no_task_and_makes_nothing(recipe):
    done = bash(f"{recipe}/../../TEMPLATE/common/setup.sh {recipe.parent}/asr1")
    assert done.returncode == 1 and "'asr1' is not a task" in done.stderr
    assert not (recipe.parent / "asr1").exists()


def test_path_sets_the_environment(recipe):
    (recipe / "local" / "path.sh").write_text("export OWN=1\n")
    show = 'echo "$MAIN_ROOT $OWN $LC_ALL $OMP_NUM_THREADS $MPLBACKEND"; command -v run.pl'
    done = bash(f". ./path.sh; {show}", cwd=recipe, OMP_NUM_THREADS="3")
    assert done.stderr == ""
    root = recipe.parents[2]
    assert done.stdout.splitlines() == [f"{root} 1 C 3 Agg", f"{recipe}/utils/run.pl"]


def test_path_tells_how_to_install(recipe):
    (recipe / "local" / "path.sh").write_text("PATH=$PWD/bin:$PATH\n")
    (recipe / "bin").mkdir()
    (recipe / "bin" / "python3").write_text("#!/bin/sh\nexit 1\n")
    (recipe / "bin" / "python3").chmod(0o755)
    done = bash(". ./path.sh; echo not reached", cwd=recipe)
    assert done.returncode == 1 and done.stdout == ""
    assert "    activate the environment " in done.stderr
    clone = recipe.parents[2]
    (clone / "tools").mkdir()
    (clone / "tools" / "Makefile").touch()
    done = bash(". ./path.sh; echo not reached", cwd=recipe)
    assert f"    make -C {clone}/tools venv\n" in done.stderr


def test_jobs_run_in_a_recipe(recipe):
    script = ". ./cmd.sh; . ./path.sh; ${train_cmd} JOB=1:2 log/x.JOB.log echo 'job  JOB'"
    done = bash(script, cwd=recipe)
    assert (done.returncode, done.stderr) == (0, "")
    assert "job  2\n" in (recipe / "log" / "x.2.log").read_text()
    done = bash(". ./path.sh; run.pl x.log false", cwd=recipe)
    assert done.returncode == 1 and "run.pl: job failed, log is in x.log" in done.stderr


def test_back_ends(recipe):
    script = 'PATH=$PWD/bin:$PATH; . ./cmd.sh; echo "$train_cmd $cuda_cmd $decode_cmd"'
    for backend, runner in (("local", "run.pl"), ("slurm", "slurm.pl")):
        done = bash(script, cwd=recipe, cmd_backend=backend)
        assert done.stdout == f"{runner} {runner} {runner}\n"
        assert (recipe / "utils" / runner).is_file()
    done = bash(script, cwd=recipe, cmd_backend="sge")
    assert done.returncode == 1 and "queue.pl on PATH" in done.stderr
    (recipe / "bin").mkdir()
    (recipe / "bin" / "queue.pl").touch(mode=0o755)
    done = bash(script, cwd=recipe, cmd_backend="sge")
    assert done.stdout == "queue.pl queue.pl queue.pl\n"
    done = bash(". ./cmd.sh", cwd=recipe, cmd_backend="cloud")
    assert done.returncode == 1 and "not 'cloud'" in done.stderr


def test_corpora_may_come_from_the_environment():
    script = f'. {COMMON}/db.sh; echo "$FSDD|$COMMONVOICE|$LIBRISPEECH|$ASVSPOOF2019_LA"'
    empty = dict.fromkeys(("COMMONVOICE", "LIBRISPEECH", "ASVSPOOF2019_LA"), "")
    assert bash(script, FSDD="/corpora/fsdd", **empty).stdout == "/corpora/fsdd|||\n"


def test_the_scripts_keep_the_calls_of_kaldi(recipe):
    data = recipe / "data" / "train"
    data.mkdir(parents=True)
    (data / "utt2spk").write_text("b-1 b\na-1 a\n")
    (data / "utt2accent").write_text("a-1 us\nb-1 uk\n")
    script = """
        . ./path.sh
        utils/utt2spk_to_spk2utt.pl data/train/utt2spk > data/train/spk2utt
        utils/spk2utt_to_utt2spk.pl < data/train/spk2utt > u2s
        utils/fix_data_dir.sh data/train
        cmp u2s data/train/utt2spk
        utils/copy_data_dir.sh --utt-suffix -x --spk-suffix -x data/train data/copy
        utils/combine_data.sh data/all data/train data/copy
        utils/validate_data_dir.sh --no-feats --no-wav --no-text data/all
        utils/split_data.sh data/all 2
        utils/subset_data_dir.sh --first data/all 3 data/three
        utils/split_scp.pl data/all/utt2spk 1.scp 2.scp
        utils/filter_scp.pl 1.scp data/all/utt2accent
        utils/filter_scp.pl --exclude 1.scp < data/all/utt2accent
    """
    done = bash(script, cwd=recipe)
    assert done.returncode == 0, done.stderr
    lines = [
        "data/train: kept 2 utterances, dropped 0",
        "data/all: valid data directory",
        *("a-1 us", "a-1-x us", "b-1 uk", "b-1-x uk"),
    ]
    assert done.stdout.splitlines() == lines
    assert (recipe / "data" / "all" / "split2" / "2" / "utt2accent").is_file()


def test_every_script_is_executable_and_passes_shellcheck():
    scripts = [*COMMON.glob("*.sh"), *(COMMON / "utils").iterdir()]
    sourced = {"cmd.sh", "path.sh", "db.sh", "parse_options.sh", "stages.sh", "checks.sh"}
    assert {p.name for p in scripts if not os.access(p, os.X_OK)} == sourced
    shellcheck = shutil.which("shellcheck") or pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, "-x", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
