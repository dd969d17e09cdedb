"""What the YAML files of all attacks have in common: checked keys, checked values."""

import dataclasses
import difflib
import math
from collections.abc import Collection, Mapping
from typing import ClassVar, TypeVar

from espnet_ext.errors import InputError

BALL = (1e-9, 1e6)
"""Radii, and steps, that single precision can hold and square."""

COUNT = (1, 10_000_000)
"""Steps, restarts and queries: more are a slip of the keyboard that would never end."""

Some = TypeVar("Some", bound="Options")
Number = TypeVar("Number", int, float)


@dataclasses.dataclass(frozen=True)
class Options:
    """Base of the settings of an attack: dataclass fields with defaults.

    The default of a field says the type of its value. Items of lists are floats, unless
    `item_types` has another type for the field. `limits` has the smallest and the largest
    value of numbers, and of each number in a list. All of it is checked however the settings
    are made.
    """

    item_types: ClassVar[Mapping[str, type]] = {}
    limits: ClassVar[Mapping[str, tuple[float, float]]] = {}

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = self._typed(field.name, getattr(self, field.name), field.default)
            object.__setattr__(self, field.name, value)  # the dataclass is frozen
            low, high = self.limits.get(field.name, (-math.inf, math.inf))
            items = value if isinstance(value, tuple) else (value,)
            for item in (i for i in items if isinstance(i, int | float) and not low <= i <= high):
                limits = f"between {low:g} and {high:g}" if high < math.inf else f"at least {low:g}"
                raise InputError(f"{field.name} must be {limits}, not {item}")
        self._check()

    @classmethod
    def from_mapping(cls: type[Some], values: Mapping[str, object]) -> Some:
        """Check and take over keys and values.

        Raises:
            InputError: a key that nothing takes, or a value of the wrong type or out of its range.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        for key in (key for key in values if key not in known):
            raise InputError(f"an attack has no option '{key}'{hint(str(key), known)}")
        return cls(**values)

    @classmethod
    def of_those(
        cls: type[Some], values: Mapping[str, object], own: Mapping[str, object] | None = None
    ) -> Some:
        """The settings of a mapping that also has keys of others.

        Args:
            values: keys that this class does not have are left out.
            own: keys that this class must have; they replace those of `values`.

        Raises:
            InputError: see `from_mapping`.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        return cls.from_mapping({k: v for k, v in values.items() if k in names} | dict(own or {}))

    def _check(self) -> None:
        """Refuse values that are out of range or do not go together."""

    @classmethod
    def _typed(cls, key: str, value: object, default: object) -> object:
        """`value` in the type of `default`; a single value will do for a list."""
        if isinstance(default, tuple):
            kind = cls.item_types.get(key, float)
            items = value if isinstance(value, list | tuple) else [value]
            return tuple(str(i) if kind is str else number(key, i, kind) for i in items)
        # Checked before int, because bool is a subclass of int.
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise InputError(f"{key} must be true or false, not {value!r}")
            return value
        if isinstance(default, str):
            return str(value)
        if default is None and value is None:
            return None
        if isinstance(default, int):
            return number(key, value, int)
        return number(key, value, float)


def hint(word: str, known: Collection[str]) -> str:
    """What was probably meant by `word`, as the end of a message; empty where nothing is near.

    Example:
        >>> hint("epss", ["eps", "steps"])
        "; did you mean 'eps'?"
    """
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def number(key: str, value: object, kind: type[Number]) -> Number:
    """`value` as a float or whole number.

    Args:
        key: names the option in the message.
        value: a number, or the text of one: YAML 1.1 reads 1e-3 as text.
        kind: float or int.

    Raises:
        InputError: it is not such a number.
    """
    if kind is int and type(value) is int:
        return kind(value)  # a float has not enough digits for every seed
    try:
        converted = float(str(value))
    except (ValueError, OverflowError):
        converted = math.nan
    if not math.isfinite(converted) or (kind is int and not converted.is_integer()):
        wanted = "a whole number" if kind is int else "a number"
        raise InputError(f"{key} must be {wanted}, not {value!r}")
    return kind(converted)
