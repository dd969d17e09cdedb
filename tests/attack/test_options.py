import dataclasses
import math
from typing import ClassVar

import pytest

from espnet_ext.attack.options import AttackOptions, hint, number
from espnet_ext.errors import InputError


@dataclasses.dataclass(frozen=True)
class Options(AttackOptions):
    eps: tuple[float, ...] = ()
    steps: tuple[int, ...] = (1,)
    names: tuple[str, ...] = ()
    loud: bool = False
    mode: str = "a"
    seed: int = 0

    item_types: ClassVar[dict[str, type]] = {"steps": int, "names": str}
    limits: ClassVar[dict[str, tuple[float, float]]] = {"steps": (1, 9), "seed": (-5, math.inf)}

    def _check(self):
        if self.seed < 0:
            raise InputError("seed must not be negative")


def test_values_get_the_type_of_their_default():
    found = Options.from_mapping({"eps": "1e-3", "steps": [2, 3.0], "names": "x", "mode": 5})
    assert found == Options(eps=(0.001,), steps=(2, 3), names=("x",), mode="5")
    assert isinstance(found.steps[1], int)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epss": 1}, "no option 'epss'; did you mean 'eps'"),
        ({"eps": ["much"]}, "eps must be a number, not 'much'"),
        ({"steps": [1.5]}, "steps must be a whole number, not 1.5"),
        ({"loud": 1}, "loud must be true or false, not 1"),
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"seed": -1}, "must not be negative"),
        ({"seed": -6}, "seed must be at least -5, not -6"),
        ({"steps": [1, 10]}, "steps must be between 1 and 9, not 10"),
        ({"seed": "1e999"}, "seed must be a whole number"),
    ],
)
def test_wrong_values_are_named_with_the_file(tmp_path, values, message):
    import yaml

    path = tmp_path / "attack.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=message) as caught:
        Options.read(path)
    assert str(caught.value).startswith(str(path))


def test_numbers_that_are_none():
    with pytest.raises(InputError, match="a number"):
        number("eps", float("nan"), float)
    assert number("eps", "2", int) == 2


def test_no_hint_where_nothing_is_near():
    assert hint("zzz", ["eps"]) == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["steps=[2,3]"], {"steps": (2, 3)}),
        (["steps=2,3", "eps=1e-3"], {"steps": (2, 3), "eps": (0.001,)}),
        (["loud=true", "mode=b=c"], {"loud": True, "mode": "b=c"}),
        (["names=x, y"], {"names": ("x", "y")}),
    ],
)
def test_single_keys_of_a_file_are_changed(tmp_path, changes, expected):
    path = tmp_path / "attack.yaml"
    path.write_text("steps: [7]\nseed: 4\n")
    found = Options.read(path, changes)
    assert {key: getattr(found, key) for key in expected} == expected
    assert found.seed == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps", "must be KEY=VALUE"),
        ("stepz=1", "no option 'stepz'; did you mean 'steps'"),
        ("steps=[1", "not valid YAML"),
        ("steps=0", "steps must be between 1 and 9"),
        ("eps=", "eps must be a number, not None"),
    ],
)
def test_a_change_is_checked_as_the_file_is_and_named(tmp_path, change, message):
    path = tmp_path / "attack.yaml"
    path.write_text("steps: [7]\n")
    with pytest.raises(InputError, match=message) as caught:
        Options.read(path, [change])
    assert f"--set {change}" in str(caught.value)


def test_a_seed_of_many_digits_stays_what_it_is():
    assert Options.from_mapping({"seed": 2**60 + 1}).seed == 2**60 + 1
