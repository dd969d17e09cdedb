"""Things of one sort, found by name: an attack, a kind of model."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from typing import Generic, TypeVar

from espnet_ext.data.options import hint
from espnet_ext.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """What has been added, what a package adds when a module of it is imported, and entry points.

    So to add something to the package is to write one file, named as the thing is.

    Args:
        what: one of them, for messages, e.g. "kind of model".
        package: its module `<name>` is imported for a name that is not known yet.
        group: of the entry points with which other packages offer theirs.
        built_in: names of modules of the package, for messages, where not all are imported at once.

    Example:
        >>> sizes = Registry[int]("size", "no_such_package", "no.such.group")
        >>> sizes.add("small", 1)
        1
        >>> sizes.find("small")
        1
    """

    def __init__(self, what: str, package: str, group: str, built_in: Sequence[str] = ()):
        self.what, self.package, self.group, self.built_in = what, package, group, built_in
        self.known: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Make `thing` known by a name; the last one of a name counts."""
        self.known[name] = thing
        return thing

    def find(self, name: str) -> T:
        """The thing of a name.

        Raises:
            InputError: there is none.
        """
        module = f"{self.package}.{name}"
        if name not in self.known and name.isidentifier():
            spec = None
            with contextlib.suppress(ModuleNotFoundError):  # not even the package is there
                spec = importlib.util.find_spec(module)
            if spec is not None:
                importlib.import_module(module)
        if name not in self.known:  # looking for entry points takes 10 ms
            others = importlib.metadata.entry_points(group=self.group)
            if name not in others.names:
                further = sorted({*self.known, *others.names} - {*self.built_in})
                names = [*self.built_in, *further]
                raise InputError(
                    f"unknown {self.what} '{name}'{hint(name, names)}; there are {', '.join(names)}"
                )
            self.add(name, others[name].load())
        return self.known[name]

    def load_others(self) -> None:
        """Import what other packages offer."""
        # A thing of this package takes precedence over an entry point of the same name.
        for entry in importlib.metadata.entry_points(group=self.group):
            if entry.name not in self.known:
                self.add(entry.name, entry.load())
