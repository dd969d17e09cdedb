import dataclasses
import math
from typing import ClassVar

import pytest

from espnet_ext.data.options import Options, hint, number
from espnet_ext.errors import InputError


@dataclasses.dataclass(frozen=True)
class Tried(Options):
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
    found = Tried.from_mapping({"eps": "1e-3", "steps": [2, 3.0], "names": "x", "mode": 5})
    assert found == Tried(eps=(0.001,), steps=(2, 3), names=("x",), mode="5")
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
def test_wrong_values_are_named(values, message):
    with pytest.raises(InputError, match=message):
        Tried.from_mapping(values)


def test_numbers_that_are_none():
    with pytest.raises(InputError, match="a number"):
        number("eps", float("nan"), float)
    assert number("eps", "2", int) == 2


def test_no_hint_where_nothing_is_near():
    assert hint("zzz", ["eps"]) == ""


def test_a_seed_of_many_digits_stays_what_it_is():
    assert Tried.from_mapping({"seed": 2**60 + 1}).seed == 2**60 + 1
