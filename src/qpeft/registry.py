"""Registers: the one mechanism by which a name becomes known to qpeft, and the plug-ins that add names of their own.

A plug-in is an installed package with an entry point in the group ``qpeft.plugins``: a module, whose import registers,
or a function without arguments. Nothing else is ever imported: no dotted path of a recipe, nothing an adapter names.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from threading import RLock
from typing import Any, ClassVar, Generic, TypeVar

from qpeft.errors import ConfigError, require_choice

GROUP = "qpeft.plugins"
_LOCK = RLock()
Row = TypeVar("Row")


class PluginWarning(UserWarning):
    """A plug-in could not be loaded; qpeft works without it."""


@dataclass
class Plugin:
    """One plug-in that was found.

    Attributes:
        name: Of its entry point.
        source: The installed distribution and its version.
        fault: Why it could not be loaded; empty where it was.
        added: What it added, such as ``ansatz mine``.
    """

    name: str
    source: str
    fault: str = ""
    added: list[str] = field(default_factory=list)


class Registry(Mapping[str, Row], Generic[Row]):
    """Named rows; a mapping that knows the names of plug-ins, too.

    Plug-ins are loaded at the first name that is not here, and at the first listing: whoever uses qpeft's own names
    does not wait for them.

    >>> colours: Registry[int] = Registry("colour")
    >>> colours.register("red", 1)
    >>> colours.need("colour", "rod")
    Traceback (most recent call last):
    ...
    qpeft.errors.ConfigError: colour must be one of red; got 'rod'; nearest: red

    Args:
        noun: What a row is, for messages.
        homes: Modules whose ``ROWS`` are qpeft's own, by ``name``, where whoever holds the register adds none.
    """

    # All of them, so that of a faulty plug-in nothing stays.
    every: ClassVar[list["Registry[Any]"]] = []

    def __init__(self, noun: str, *homes: str) -> None:
        self.noun, self.homes = noun, list(homes)
        self._rows: dict[str, Row] = {}
        self._origins: dict[str, str] = {}
        Registry.every.append(self)

    def register(self, name: str, row: Row) -> None:
        """Add a row; the same row a second time does nothing.

        Raises:
            ConfigError: The name is taken by another row, or is no word.
        """
        if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
            raise ConfigError(
                f"the name of {self.noun} must be a word of letters, digits and underscores; got {name!r}"
            )
        with _LOCK:
            self._settle()
            if name in self._rows and self._rows[name] != row:
                owner = self._origins.get(name)
                raise ConfigError(
                    f"{self.noun} {name!r} is registered already{f' by plug-in {owner}' if owner else ''}; choose "
                    f"another name"
                )
            if name not in self._rows and _loading:
                self._origins[name] = _loading[-1].name
                _loading[-1].added.append(f"{self.noun} {name}")
            self._rows[name] = row

    def own(self, name: str, row: Row) -> None:
        """Add a row of qpeft itself, also where a plug-in is the first to import the module that holds it."""
        self._rows[name] = row

    def first(self, fits: Callable[[Row], bool]) -> Row | None:
        """The first row that fits, plug-ins' last; None where there is none."""
        self._settle()
        own = [row for row in self._rows.values() if fits(row)]
        return next(iter(own or filter(fits, self.values())), None)

    def remove(self, name: str) -> None:
        """Take a row away, as a test does that added it.

        Raises:
            KeyError: There is none.
        """
        self._origins.pop(name, None)
        del self._rows[name]

    def forget(self, plugin: str) -> None:
        """Take away what a plug-in added."""
        for name in [name for name, origin in self._origins.items() if origin == plugin]:
            self.remove(name)

    def need(self, key: str, name: str) -> Row:
        """The row of a name that a user gave.

        Raises:
            ConfigError: There is none; names the key as typed, the names there are and the nearest one.
        """
        require_choice(key, name, self)
        return self[name]

    def _settle(self) -> None:
        """Take the rows of the homes, in their order; a home that is just being imported is asked again later."""
        while self.homes:
            rows = getattr(import_module(self.homes[0]), "ROWS", None)
            if rows is None:
                return
            for row in rows:
                self.own(row.name, row)
            self.homes.pop(0)

    def _complete(self) -> None:
        self._settle()
        plugins()

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        self._settle()
        if name not in self._rows:
            plugins()
        return name in self._rows

    def __getitem__(self, name: str) -> Row:
        if name not in self:
            raise KeyError(name)
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(list(self._rows))

    def __len__(self) -> int:
        self._complete()
        return len(self._rows)


_found: list[Plugin] | None = None
_loading: list[Plugin] = []


def plugins() -> list[Plugin]:
    """The plug-ins of this installation, loaded at the first call; a faulty one is named in a warning and left out."""
    global _found
    with _LOCK:
        if _found is None:
            _found = []  # what a plug-in lists while it is loaded is what is known by then
            _found += [_load(entry) for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
        return _found


def _load(entry: EntryPoint) -> Plugin:
    source = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
    plugin = Plugin(entry.name, source)
    _loading.append(plugin)
    try:
        found = entry.load()
        if callable(found):
            found()
    except (Exception, SystemExit) as error:  # whatever a stranger's code does, qpeft goes on without it
        plugin.fault, plugin.added = f"{type(error).__name__}: {error}", []
        for register in Registry.every:
            register.forget(plugin.name)
        warnings.warn(
            f"plug-in {plugin.name} ({source}) cannot be loaded and is left out: {plugin.fault}",
            PluginWarning,
            stacklevel=2,
        )
    finally:
        _loading.pop()
    return plugin
