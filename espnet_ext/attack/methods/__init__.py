"""The attacks: one frozen dataclass a file, found by name.

To add one, write a file here (or anywhere, with `register`) that is like `noise.py`, and add its
name to `BUILT_IN`. A package can also offer attacks as entry points of the group
`espnet_ext.attacks`. CONTRIBUTING.md has an example.
"""

import importlib
import importlib.metadata

from espnet_ext.attack.methods.base import Method
from espnet_ext.data.options import hint
from espnet_ext.errors import InputError

BUILT_IN = ("fgsm", "pgd", "noise", "spsa", "upstream", "apgd", "square", "worst")
GROUP = "espnet_ext.attacks"

_registered: dict[str, type[Method]] = {}


def register(method: type[Method]) -> type[Method]:
    """Make an attack known by its `name`; a decorator.

    Raises:
        InputError: the name is taken, or can be no name of a directory.
    """
    name = method.name
    if not name.isidentifier() or name in (*BUILT_IN, "clean"):
        raise InputError(f"an attack cannot be called '{name}'; give it another name")
    _registered[name] = method
    return method


def method_named(name: str) -> type[Method]:
    """The class of an attack.

    Raises:
        InputError: there is none of this name.

    Example:
        >>> method_named("pgd").title
        'PGD'
    """
    if name in _registered:
        return _registered[name]
    if name in BUILT_IN:
        module = importlib.import_module(f"{__name__}.{name}")
        return next(
            found
            for found in vars(module).values()
            if isinstance(found, type)
            and issubclass(found, Method)
            and getattr(found, "name", "") == name
        )
    others = importlib.metadata.entry_points(group=GROUP)
    if name in others.names:
        loaded: type[Method] = others[name].load()
        return loaded
    known = (*BUILT_IN, *_registered, *others.names)
    raise InputError(f"unknown method '{name}'{hint(name, known)}; there are {', '.join(known)}")
