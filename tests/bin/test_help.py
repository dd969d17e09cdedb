import contextlib
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys

import pytest

import espnet_ext.bin
from espnet_ext.bin import cli, entry
from espnet_ext.errors import InputError

COMMANDS = sorted(
    {m.name for m in pkgutil.iter_modules(espnet_ext.bin.__path__)}
    - {"cli", "advice", "entry", "help_text", "training", "worker"}
)
HEAVY = ("torch", "espnet2", "espnet", "art", "scipy", "matplotlib", "sentencepiece")
RUN = f"""
import runpy, sys
sys.argv = [sys.argv[1], *sys.argv[2:]]
try:
    runpy.run_module("espnet_ext.bin." + sys.argv[0], run_name="__main__", alter_sys=False)
finally:
    print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
"""


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", RUN, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_there_are_commands():
    assert {"asr_train", "asr_attack", "asr_report", "check", "run_jobs"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_without_importing_anything_heavy(command):
    done = run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert len(done.stdout.splitlines()) > 2 and "--" in done.stdout


@pytest.mark.parametrize(
    ("verb", "name"), [(v, name) for v in entry.VERBS for name in entry.VERBS[v].modules.values()]
)
def test_help_has_an_example_that_the_command_takes(verb, name, monkeypatch, capsys):
    module = importlib.import_module(f"espnet_ext.bin.{name}")
    monkeypatch.setattr(sys, "argv", [f"espnet-ext {verb}", "--help"])
    with contextlib.suppress(SystemExit):
        module.main()
    helped = capsys.readouterr().out
    (example,) = re.findall(r"^example: espnet-ext (.*)$", helped, re.M)
    words = shlex.split(example)
    assert " ".join(words).startswith(verb.removesuffix(" file"))
    for phrase in ("(default: None)", "(default: False)", "(default: (1, 1))"):
        assert phrase not in helped
    if not hasattr(module, "get_parser"):  # ESPnet's parser, which takes seconds
        assert {word for word in words if word.startswith("--")} <= {*entry.options(name)}
        return
    parser = module.get_parser()
    parser.parse_args(words[len(verb.removesuffix(" file").split()) :])
    listed = re.findall(r"^  (--\w+)", helped.partition("\noptions:\n")[2], re.M)
    required = [a.option_strings[0] for a in parser._actions if a.required and a.option_strings]
    assert {*required} <= {*listed[: len(required) + 1]}, "they come first, beside the model"


@pytest.mark.parametrize(
    "command", sorted({*COMMANDS} - {"asr_train", "cm_train", "ssl_train", "check", "demo"})
)
def test_a_command_without_its_arguments_is_refused(command):
    done = run(command)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert "error: " in done.stderr and "Traceback" not in done.stderr


def fail() -> None:
    raise InputError("wav.scp:3: no such file")


def test_an_input_error_is_printed_as_one_message():
    with pytest.raises(SystemExit) as stop:
        cli.run(fail)
    assert stop.value.code == "error: wav.scp:3: no such file"


def test_the_traceback_is_shown_on_demand(monkeypatch):
    monkeypatch.setenv("ESPNET_EXT_TRACEBACK", "1")
    with pytest.raises(InputError):
        cli.run(fail)


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0)


@pytest.mark.parametrize("text", ["1/1", "2/8", "8/8"])
def test_a_shard_is_part_and_parts(text):
    assert "{}/{}".format(*cli.shard(text)) == text


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/2", "1/2/3", "1.5/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(cli.argparse.ArgumentTypeError):
        cli.shard(text)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    assert cli.device(0) == "cpu"
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match="--ngpu 1, but PyTorch sees no GPU; use --ngpu 0"):
        cli.device(1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert cli.device(1) == "cuda"
    with pytest.raises(InputError, match="--ngpu 3, but PyTorch sees 2 GPUs; use --ngpu 2"):
        cli.device(3)
