"""What a wheel brings: the commands, and the recipes for those who have no clone."""

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.recipe


def run(*words, cwd, path=None):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MAIN_ROOT")}
    environment["PATH"] = os.pathsep.join([str(path or ""), environment["PATH"]]).lstrip(os.pathsep)
    return subprocess.run(
        [*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """Where somebody works who has installed the wheel, beside what it needs."""
    top = tmp_path_factory.mktemp("user")
    build = ["egg_info", "-e", top, "build", "-b", top / "build", "bdist_wheel", "-d", top]
    done = run(sys.executable, "setup.py", "-q", *build, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    venv.create(top / "venv", with_pip=False)
    python = top / "venv" / "bin" / "python"
    (site,) = (top / "venv" / "lib").glob("python*/site-packages")
    (wheel,) = top.glob("*.whl")
    # The modules of the tested environment, but not its link to the clone: .pth files are not read.
    dependencies = importlib.metadata.distribution("torch").locate_file("")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    install = ["-m", "uv", "pip", "install", "-q", "--offline", "--no-deps", "--python", python]
    done = run(sys.executable, *install, wheel, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (top / "work").mkdir()
    return lambda *words, cwd=".": run(*words, cwd=top / "work" / cwd, path=top / "venv" / "bin")


@pytest.fixture(scope="module")
def written(user):
    told = user("espnet-ext", "recipes", ".")
    assert (told.returncode, told.stderr) == (0, "")
    return Path(user("pwd").stdout.strip())


def test_a_wheel_brings_the_commands(user):
    helped = user("espnet-ext", "--help")
    assert (helped.returncode, helped.stderr) == (0, "") and "  recipes " in helped.stdout


def test_the_recipes_are_written_once_with_links_that_work(user, written):
    there = {str(p.relative_to(ROOT)) for p in (ROOT / "egs2").glob("*/*/*") if p.is_symlink()}
    links = {str(p.relative_to(written)) for p in written.rglob("*") if p.is_symlink()}
    assert there <= links and all((written / link).exists() for link in links)
    again = user("espnet-ext", "recipes", ".")
    assert again.returncode == 1 and again.stderr.startswith("error: egs2 exists")


def test_a_recipe_runs_without_a_clone(user, written):
    recipe = "egs2/mini/mtl_asr1"
    show = ". ./path.sh; python3 -c 'import espnet_ext; print(espnet_ext.__file__)'"
    found = user("bash", "-c", show, cwd=recipe).stdout
    assert "/venv/" in found and not found.startswith(f"{ROOT}/")
    done = user("./run.sh", "--stop_stage", "1", cwd=recipe)
    assert done.returncode == 0, done.stderr
    assert (written / recipe / "data" / "test" / "wav.scp").is_file()
