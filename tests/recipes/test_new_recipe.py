"""A recipe for another corpus, made by doing what egs2/README.md says."""

import re
import shutil
import subprocess

import pytest
from recipes.recipe import ROOT, TINY, run

from espnet_ext.data.kaldi import read_table
from espnet_ext.data.labels import classes

PAGE = (ROOT / "egs2/README.md").read_text()
TASKS = ("mtl_asr1", "cm1", "ssl1")


@pytest.fixture
def repository(tmp_path):
    """The shared part of egs2/ and the recipes that it takes configurations from."""
    for name in (
        "TEMPLATE",
        "fsdd/mtl_asr1/conf",
        "asvspoof2019/cm1/conf",
        "librispeech/ssl1/conf",
    ):
        shutil.copytree(ROOT / "egs2" / name, tmp_path / "egs2" / name, symlinks=True)
    (tmp_path / "espnet_ext").symlink_to(ROOT / "espnet_ext")
    return tmp_path


def bash(command, directory):
    done = subprocess.run(["bash", "-c", command], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def blocks():
    """The commands of the page: set-up, data.sh, variables, and how it is run."""
    return re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("task", TASKS)
def test_a_new_recipe_has_all_that_it_needs(repository, task):
    folder = repository / "egs2/mine" / task
    bash(f"egs2/TEMPLATE/common/setup.sh egs2/mine/{task}", repository)
    help_text = bash("./run.sh --help", folder).stdout
    assert "Stages:" in help_text
    for name in re.findall(r"=(conf/\S+)", help_text):
        assert (folder / name).is_file() and not (folder / name).is_symlink(), name
    for line in (folder / "run.sh").read_text().splitlines():
        assert not re.match(r"\w+=", line) or re.search(r"#.*\w", line), line
    done = subprocess.run(["local/data.sh"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "not written yet" in done.stderr


def test_what_is_ones_own_stays(repository):
    command = "egs2/TEMPLATE/common/setup.sh egs2/mine/mtl_asr1"
    bash(command, repository)
    own = repository / "egs2/mine/mtl_asr1/conf/train.yaml"
    own.write_text("mine")
    bash(command, repository)
    assert own.read_text() == "mine"


@pytest.mark.recipe
def test_the_page_makes_a_recipe_that_runs(repository, shared_data):
    corpus = shared_data / "speechocean762_mini"
    if not corpus.is_dir():
        pytest.skip("speechocean762_mini is not among the data")
    setup, data, variables, commands = blocks()
    assert len([line for line in data.splitlines() if line.strip()]) < 40
    bash(setup, repository)
    folder = repository / setup.split()[-1]
    (folder / "local/data.sh").write_text(data)
    bash(variables, folder)
    assert "--stop_stage 4" in commands and "SPEECHOCEAN762=" in commands
    done = run(folder, "--stop_stage", "4", SPEECHOCEAN762=str(corpus))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    counts = {n: len(read_table(folder / "dump" / n / "text")) for n in ("train", "dev", "test")}
    assert counts == {"train": 496, "dev": 80, "test": 140}
    speakers = [set(read_table(folder / "data" / n / "utt2spk").values()) for n in counts]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 92
    for head, names in (("gender", ["f", "m"]), ("age_group", ["adult", "child"])):
        assert (folder / f"data/classes/{head}.txt").read_text().split() == names
        assert classes(read_table(folder / f"data/train/utt2{head}")) == names
    (shapes,) = (folder / "exp").glob("stats_*/train/speech_shape")
    assert len(read_table(shapes)) == counts["train"]
    assert "./run.sh --stage 5" in commands
    done = run(folder, "--stage", "5", "--stop_stage", "5", "--train_args", TINY)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    log = (folder / "exp/log/pretrain_seed0/1.log").read_text()
    assert "The training was finished at 1 epochs" in log
    assert (folder / "exp/pretrain_seed0/valid.loss.best.pth").is_file()
