"""YAML files that take their keys from another one, and change some of them."""

import json
from collections.abc import Mapping
from pathlib import Path

from espnet_ext.data.files import Record, read_yaml
from espnet_ext.errors import InputError

Config = Record
"""Keys and values of a YAML file, or of a part of one; whoever uses a value has it checked."""


def read_with_base(path: str | Path) -> Config:
    """Read a YAML file of a training or an attack, with what it has from its `base`.

    `base: ../conf/train.yaml` names another file, from where this one is. See `merged` for what a
    key of this file does to one of that file.

    Args:
        path: the file.

    Raises:
        InputError: see `espnet_ext.data.files.read_yaml`; or a base is not there, or leads back.

    Example:
        >>> read_with_base("egs2/fsdd/mtl_asr1/conf/train.yaml")["max_epoch"]   # doctest: +SKIP
        8
    """
    files, layers = [Path(path).resolve()], [read_yaml(path)]
    while (base := layers[-1].pop("base", None)) is not None:
        files.append((files[-1].parent / str(base)).resolve())
        shown = files[-2] if len(files) > 2 else path
        if files[-1] in files[:-1]:
            raise InputError(
                f"{shown}: base: {base} has this file for its base; remove one of them"
            )
        if not files[-1].is_file():
            raise InputError(
                f"{shown}: base: there is no {files[-1]}; give its path from this file"
            )
        layers.append(read_yaml(files[-1]))
    values: Config = {}
    for layer in reversed(layers):
        values = merged(values, layer)
    return values


def merged(below: Mapping[str, object], above: Mapping[str, object]) -> Config:
    """`below` with the values of `above` where it has one; mappings are merged key by key.

    What belongs to a choice goes with it: where `encoder` is another one, `encoder_conf` is that of
    `above` alone.

    Example:
        >>> merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}})
        {'a': 1, 'b': {'c': 4, 'd': 3}}
        >>> merged({"optim": "adam", "optim_conf": {"eps": 1}}, {"optim": "sgd"})
        {'optim': 'sgd'}
    """
    changed = {f"{key}_conf" for key, value in above.items() if below.get(key, value) != value}
    result = {key: value for key, value in below.items() if key not in changed}
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merged(old, value)
        result[key] = value
    return result


def inherited(
    name: str,
    entries: Mapping[str, object],
    others: Mapping[str, object] | None = None,
    above: tuple[str, ...] = (),
) -> Config:
    """The entry `name` with what it inherits from the one that it is `like`, mappings merged.

    Args:
        name: the entry.
        entries: all entries, each a mapping of keys to values.
        others: more entries that one may be like, also one of the same name.
        above: the entries that are like this one.

    Raises:
        ValueError: an entry has no keys, is like one that is not there, or like itself.

    Example:
        >>> inherited("b", {"a": {"x": 1, "y": {"z": 2}}, "b": {"like": "a", "y": {"w": 3}}})
        {'x': 1, 'y': {'z': 2, 'w': 3}}
    """
    entry = entries[name]
    if not isinstance(entry, dict):
        raise ValueError(f"{name} should be keys with values, not {json.dumps(entry)}")
    own = {key: value for key, value in entry.items() if key != "like"}
    if "like" not in entry:
        return own
    parent, others = str(entry["like"]), others or {}
    if parent in (*above, name) and parent not in others:
        raise ValueError(f"is like itself: {' -> '.join([*above, name, parent])}")
    if parent in entries and parent != name:
        return merged(inherited(parent, entries, others, (*above, name)), own)
    if parent in others:
        return merged(inherited(parent, others), own)
    known = ", ".join(map(str, dict.fromkeys([*entries, *others])))
    raise ValueError(f"like: there is no '{parent}'; there is {known}")
