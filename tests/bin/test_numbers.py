"""Numbers out of range are refused by every command, before it does anything."""

import argparse
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import espnet_ext.bin
from espnet_ext.bin import cli
from espnet_ext.data.format import FormatOptions
from espnet_ext.errors import InputError

MAY_BE_ZERO = {
    "checkpoint_seconds", "ctc_weight", "dev_fraction", "max_seconds", "min_seconds", "ngpu",
    "num_pictures", "num_trials", "num_utts", "seed", "seeds", "snr", "test_fraction", "threshold",
    "utterances",
}  # fmt: skip
MAY_BE_NEGATIVE = {"snr", "threshold"}


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from actions(sub)
        yield action


def takes(action: argparse.Action, text: str) -> bool:
    parse: Any = action.type
    try:
        parse(text)
    except (argparse.ArgumentTypeError, ValueError, InputError):
        return False
    return True


def options() -> "list[tuple[str, argparse.Action]]":
    """The options of all commands that take one number, or several."""
    found = []
    for module in pkgutil.iter_modules(espnet_ext.bin.__path__):
        command = importlib.import_module(f"espnet_ext.bin.{module.name}")
        if hasattr(command, "get_parser"):
            for action in actions(command.get_parser()):
                if action.type in (None, str) or takes(action, "mix"):
                    continue
                if any(takes(action, number) for number in ("1", "0.5", "16000")):
                    found.append((f"{module.name} {action.dest}", action))
    return found


OPTIONS = options()


def test_the_options_are_found():
    assert len(OPTIONS) > 35 or [name for name, _ in OPTIONS]


@pytest.mark.parametrize(("name", "action"), OPTIONS, ids=[name for name, _ in OPTIONS])
def test_an_option_refuses_what_makes_no_sense(name, action):
    dest = name.split()[1]
    assert action.type not in (int, float)
    for text in ("nan", "-inf", "", "1,5", "x"):
        assert not takes(action, text), text
    for text in ("-1", "-0.5", "-1000"):
        assert not takes(action, text) or dest in MAY_BE_NEGATIVE, text
    assert not takes(action, "0") or dest in MAY_BE_ZERO
    if action.default not in (None, argparse.SUPPRESS, []):
        assert takes(action, str(action.default))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (cli.integer(1), ["1", "20"], ["0", "-1", "1.5", "1e3", "nan", ""]),
        (cli.integer(0, 5), ["0", "5"], ["6", "-1"]),
        (cli.real(), ["-1.5", "0"], ["inf", "-inf", "nan", "a"]),
        (cli.real(0), ["0", "inf"], ["-0.1", "nan"]),
        (cli.real(0, 1), ["0", "1", "0.5"], ["1.1", "2", "-1", "nan", "inf"]),
        (cli.real(0, below=1), ["0", "0.99"], ["1", "-0.1", "nan", "inf", "x"]),
        (cli.real(above=0), ["0.1"], ["0", "-1", "inf", "nan"]),
        (cli.several(cli.seed), ["0 1", "3"], ["", "0 -1", "0 x", "4294967296"]),
        (cli.hertz, ["8000", "16000"], ["0", "-8000", "nan", "16000.5", "16"]),
    ],
)
def test_each_type_has_its_range(kind, good, bad):
    for text in good:
        kind(text)
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


@pytest.mark.parametrize(
    "numbers",
    [
        {"sample_rate": 0},
        {"threads": 0},
        {"min_seconds": -1.0},
        {"min_seconds": float("nan")},
        {"max_seconds": float("nan")},
        {"min_seconds": 2.0, "max_seconds": 1.0},
    ],
)
def test_the_format_stage_refuses_them_from_python_too(numbers):
    with pytest.raises(InputError):
        FormatOptions(**{"sample_rate": 8000, **numbers})
