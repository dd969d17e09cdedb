import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_ext import __version__
from espnet_ext.report import environment as module
from espnet_ext.report.environment import commit, environment


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", directory, *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "--message", "a")
    return tmp_path


def installed_in(directory: Path, monkeypatch) -> None:
    """Let the package stand in `directory`."""
    place = directory / "espnet_ext" / "report" / "environment.py"
    monkeypatch.setattr(module, "__file__", str(place))


@pytest.fixture
def found(monkeypatch) -> dict:
    command = ["/home/me/bin/asr_attack.py", "--config", "a b.yaml"]
    monkeypatch.setattr(sys, "argv", command)
    return json.loads(json.dumps(environment("cpu"), allow_nan=False))


def test_the_command_is_one_to_paste_without_the_place_of_the_script(found):
    assert found["command"] == "asr_attack.py --config 'a b.yaml'"


def test_date_and_device_are_told(found):
    date = datetime.datetime.fromisoformat(found["date"])
    age = datetime.datetime.now(datetime.timezone.utc) - date
    assert datetime.timedelta(seconds=-1) <= age < datetime.timedelta(hours=1)
    assert found["device"] == "cpu" and found["threads"] >= 1


def test_versions_are_those_of_the_running_programs(found):
    import numpy
    import torch

    assert found["python"] == sys.version.split()[0]
    assert found["packages"]["numpy"] == numpy.__version__
    assert found["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["packages"]["espnet_ext"] in (__version__, None)


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("no_such_package_for_sure",))
    assert environment("cpu")["packages"] == {"no_such_package_for_sure": None}


def test_the_commit_is_that_of_the_repository(repository, monkeypatch):
    installed_in(repository, monkeypatch)
    place = Path(module.__file__)
    place.parent.mkdir(parents=True)
    place.touch()
    git(repository, "add", str(place))
    git(repository, "commit", "--quiet", "--message", "b")
    assert commit() == git(repository, "rev-parse", "HEAD")[:12]
    (repository / "a").write_text("2")
    assert commit() == git(repository, "rev-parse", "HEAD")[:12] + "-dirty"


def test_outside_of_git_there_is_no_commit(tmp_path, monkeypatch):
    installed_in(tmp_path, monkeypatch)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() is None


def test_an_installed_package_has_no_commit_of_a_repository_around_it(repository, monkeypatch):
    installed_in(repository / "venv" / "lib" / "site-packages", monkeypatch)
    Path(module.__file__).parent.mkdir(parents=True)
    assert commit() is None
