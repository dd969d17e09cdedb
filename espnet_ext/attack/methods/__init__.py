"""The attacks: one frozen dataclass per file, found by name.

To add one, write a file here (or anywhere, with `register`) that is like `noise.py`, and add its
name to `BUILT_IN`. A package can also offer attacks as entry points of the group
`espnet_ext.attacks`. CONTRIBUTING.md has an example.
"""

from espnet_ext.attack.methods.base import Method
from espnet_ext.data.registry import Registry
from espnet_ext.errors import InputError

BUILT_IN = ("fgsm", "pgd", "noise", "spsa", "upstream", "apgd", "square", "worst")
METHODS: Registry[type[Method]] = Registry("method", __name__, "espnet_ext.attacks", BUILT_IN)


def register(method: type[Method]) -> type[Method]:
    """Make an attack known by its `name`; a decorator.

    Raises:
        InputError: the name is taken, or can be no name of a directory.
    """
    name = method.name
    taken = name in BUILT_IN and method.__module__ != f"{__name__}.{name}"
    if taken or not name.isidentifier() or name == "clean":
        raise InputError(f"an attack cannot be called '{name}'; give it another name")
    return METHODS.add(name, method)


def method_named(name: str) -> type[Method]:
    """The class of an attack.

    Raises:
        InputError: there is none of this name.

    Example:
        >>> method_named("pgd").title
        'PGD'
    """
    return METHODS.find(name)
