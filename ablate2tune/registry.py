"""Things of one kind, each in a file of its own that registers itself when it is imported.

Other packages add theirs through Python entry points of the group `ablate2tune`, as pytest's
plugins do: an entry point names a module, and importing it registers what it holds.

    [project.entry-points.ablate2tune]
    my_modes = "my_package.modes"
"""

import functools
import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from ablate2tune.errors import UserError, did_you_mean, one_line

T = TypeVar("T")
GROUP = "ablate2tune"
"""Of the entry points."""


class Registry(Generic[T]):
    """Named things of one kind: those of a package's modules, and those that extensions add."""

    def __init__(self, kind: str, package: str, key: str | None = None):
        """Nothing is imported before the first look.

        Args:
            kind: what the things are called in messages ("ablation mode").
            package: its modules, one level deep, hold the built-in ones.
            key: what names one, for messages: a recipe's key ("train.method") or an option.
        """
        self.kind, self._package, self._key = kind, package, key
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T) -> T:
        """Register a thing under a name and return it.

        Raises:
            UserError: the name is taken by another thing.
        """
        if self._things.get(name, thing) is not thing:
            raise UserError(f"two {self.kind}s are called {name!r}", mend="rename one")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        """The thing of a name.

        Raises:
            UserError: there is none; names those that are near.
        """
        names = list(self)
        if name not in self._things:
            gap = " " if self._key and self._key.startswith("--") else " = "
            where = self._key and f"{self._key}{gap}{name}"
            raise UserError(f"no {self.kind} {name!r}", where=where, mend=did_you_mean(name, names))
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        """Names: the built-in ones in the order of their files, then those of extensions.

        Raises:
            UserError: a file or an extension cannot be imported.
        """
        _import_modules(self._package)
        load_extensions()
        return iter(self._things)

    def values(self) -> list[T]:
        """The things, in the order of their names."""
        return [self[name] for name in self]


@functools.cache
def load_extensions() -> None:
    """Import the modules that installed packages name in the entry point group `ablate2tune`.

    Raises:
        UserError: one cannot be imported.
    """
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            entry.load()
        except Exception as error:
            raise UserError(
                f"an extension cannot be imported ({one_line(error)})",
                where=f"entry point {entry.name} = {entry.value}",
                mend="mend or uninstall the package that brings it",
            ) from error


@functools.cache
def _import_modules(package: str) -> None:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        try:
            importlib.import_module(f"{package}.{module.name}")
        except Exception as error:
            raise UserError(
                f"cannot be imported ({one_line(error)})",
                where=f"{package}.{module.name}",
                mend="mend it or take it out",
            ) from error
