import dataclasses
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
