"""What a worker imports before it forks; tests/jobs/test_warm.py runs commands in one."""

import functools
import importlib.util
import os
import sys

import pytest

from espnet_ext import compat
from espnet_ext.bin.worker import _prepare, _tell, needed
from espnet_ext.report import findings


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("asr_attack", "espnet_ext.attack.run"),
        ("asr_attack", "espnet_ext.tasks.loading"),
        ("cm_attack", "espnet_ext.victims.countermeasure"),
        ("asr_inference", "espnet_ext.asr.transcribe"),
        ("asr_train", "espnet_ext.tasks.mtl_asr"),
    ],
)
def test_what_a_command_imports_late_is_imported_once(command, module):
    assert module in needed(f"espnet_ext.bin.{command}")
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("command", ["run_jobs", "absent"])
def test_a_light_command_needs_nothing(command):
    assert needed(f"espnet_ext.bin.{command}") == []


def test_what_a_command_has_used_the_next_ones_find_done(monkeypatch):
    calls = []
    checks = {name: functools.cache(lambda name=name: calls.append(name)) for name in "ab"}
    monkeypatch.setattr(compat, "CHECKED_LATER", checks)
    used, tell = os.pipe()
    for end in (used, tell):
        os.set_blocking(end, False)
    _prepare(used)  # nothing is known yet
    before = {*sys.modules} - {"json.tool"}
    importlib.import_module("json.tool")
    checks["a"]()
    findings.macros()
    _tell(tell, before)
    monkeypatch.delitem(sys.modules, "json.tool")
    for once in (checks["a"], findings.macros):
        once.cache_clear()
    _prepare(used)
    assert calls == ["a", "a"] and "json.tool" in sys.modules
    assert findings.macros.cache_info().currsize == 1
