import importlib.metadata
import platform
import sys

import pytest

from espnet_ext.bin import check

NOWHERE = check.Requirement("nowhere_mod", "magic", "pip install magic", "magic")


@pytest.fixture
def show(monkeypatch, capsys):
    """What the command prints, by the first word of each line."""

    def show() -> dict[str, str]:
        monkeypatch.setattr(sys, "argv", ["check"])
        check.main()
        lines = capsys.readouterr().out.splitlines()
        return {line.split(maxsplit=1)[0]: line for line in lines}

    return show


def test_what_is_installed_is_shown_with_its_version(show):
    found = show()
    assert platform.python_version() in found["python"] and sys.executable in found["python"]
    for name, distribution in (("espnet2", "espnet"), ("soundfile", "soundfile")):
        assert importlib.metadata.version(distribution) in found[name]
    assert {r.name for r in (*check.REQUIRED, *check.OPTIONAL, *check.PROGRAMS)} <= set(found)
    assert "GPU:" in found


def test_a_missing_module_ends_with_its_remedy(show, monkeypatch, capsys):
    monkeypatch.setattr(check, "REQUIRED", [*check.REQUIRED[:1], NOWHERE])
    with pytest.raises(SystemExit) as stop:
        show()
    assert stop.value.code == "error: missing: nowhere_mod"
    out = capsys.readouterr().out
    assert "nowhere_mod" in out and "for magic: pip install magic" in out


def test_what_is_optional_may_be_missing(show, monkeypatch):
    monkeypatch.setattr(check, "OPTIONAL", [NOWHERE])
    monkeypatch.setattr(check, "PROGRAMS", [check.Requirement("no-such-prog", "fun", "make it")])
    found = show()
    assert "missing" in found[NOWHERE.name] and "pip install magic" in found[NOWHERE.name]
    assert "missing" in found["no-such-prog"] and "for fun: make it" in found["no-such-prog"]


def test_every_requirement_has_a_remedy():
    for requirement in (*check.REQUIRED, *check.OPTIONAL, *check.PROGRAMS):
        assert requirement.purpose and requirement.remedy


def test_without_a_gpu_the_option_is_told(show, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert show()["GPU:"].endswith("run with --ngpu 0")
