"""Checks of what was read from a file against a type of this package."""

import contextlib
import difflib
import types
from collections.abc import Collection, Mapping, Sequence
from typing import (
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from espnet_ext.errors import InputError

T = TypeVar("T")


def check(value: object, kind: type[T], where: str) -> T:
    """A value that was read, if it is of a type; refused otherwise.

    Args:
        value: as it was read from JSON or YAML.
        kind: str, int, float, bool, None, lists, dictionaries, unions and TypedDicts of these.
        where: file, and keys that lead to the value, for the message.

    Raises:
        InputError: says where, what was expected and what is there.

    Example:
        >>> check([1, 2.5], list[float], "report.yaml: eps")
        [1, 2.5]
    """
    _refuse(value, kind, where)
    return cast(T, value)


def _refuse(value: object, kind: Any, where: str) -> None:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        # If no option fits, the error at the end names all of them.
        for option in arguments:
            with contextlib.suppress(InputError):
                _refuse(value, option, where)
                return
    if is_typeddict(kind) and isinstance(value, dict):
        known = get_type_hints(kind)
        _refuse_keys(value, known, kind.__required_keys__, where)
        for key, item in value.items():
            _refuse(item, known[key], f"{where}: {key}")
    elif origin in (list, Sequence) and isinstance(value, list):
        for number, item in enumerate(value, 1):
            _refuse(item, arguments[0], f"{where}: entry {number}")
    elif origin in (dict, Mapping) and isinstance(value, dict):
        for key, item in value.items():
            _refuse(item, arguments[1], f"{where}: {key}")
    elif not (
        kind in (Any, object)
        # Not isinstance: for Python True is an int.
        or type(value) is kind
        or (kind is float and type(value) is int)
        or (origin is Literal and value in arguments)
    ):
        raise InputError(f"{where}: expected {_in_words(kind)}, got {value!r:.60}")


def _refuse_keys(
    value: dict[str, object], known: Collection[str], required: frozenset[str], where: str
) -> None:
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"{where}: nothing takes '{key}'{meant}")
    for key in sorted(required - value.keys()):
        raise InputError(f"{where}: lacks '{key}'")


def _in_words(kind: Any) -> str:
    names = {str: "text", float: "a number", int: "a whole number", bool: "true or false"}
    if is_typeddict(kind):
        return f"keys {', '.join(get_type_hints(kind))}"
    return names.get(kind, "a list" if get_origin(kind) is list else str(kind))


def json_schema(kind: Any, name: str, version: int) -> dict[str, Any]:
    """The whole JSON schema of a file of a kind.

    Args:
        kind: its type.
        name: of the kind.
        version: of the type.
    """
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**about, "$id": f"urn:espnet_ext:{name}:{version}", **schema(kind)}


def schema(kind: Any) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a type that `check` takes.

    Example:
        >>> schema(list[float])
        {'type': 'array', 'items': {'type': 'number'}}
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        return {
            "description": (kind.__doc__ or "").split("\n")[0],
            "type": "object",
            "properties": {key: schema(item) for key, item in get_type_hints(kind).items()},
            "required": sorted(kind.__required_keys__),
            "additionalProperties": False,
        }
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(option) for option in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, Sequence):
        return {"type": "array", "items": schema(arguments[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema(arguments[1])}
    names = {str: "string", float: "number", int: "integer", bool: "boolean", type(None): "null"}
    return {"type": names[kind]} if kind in names else {}
