"""What a worker imports before it forks; tests/jobs/test_warm.py runs commands in one."""

import importlib.util

import pytest

from espnet_ext.bin.worker import needed


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
