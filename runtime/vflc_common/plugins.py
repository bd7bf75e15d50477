"""Records of one kind: a module each of a package here, and those that other packages name by entry points.

Of both, a module is imported when its record is asked for by name; entry points are looked for only when a
name is none of ours, as the search costs more than all else that checking a spec imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Named(Protocol):
    """What every record has."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)
MEND = "fix or uninstall that package"
"""What to do about a broken one."""
GROUPS = "vflc."
"""What groups of entry points start with."""
RUN = ("encoders", "metrics", "codecs", "solvers")
"""Kinds whose code runs at parties; what others have made is in the graphs of the bundle."""


class Plugin(NamedTuple):
    """Where a record comes from that is none of ours.

    Args:
        kind: as `metrics`.
        name: of the record.
        package, version: of the distribution that was installed.
    """

    kind: str
    name: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.name!r} among the {self.kind} of the package {self.package} {self.version}"


class BrokenPlugin(Exception):
    """Another package's record that cannot be used.

    Args:
        message: which, of which package, and why.
        plugin: which, where it was used.
    """

    def __init__(self, message: str, plugin: Plugin | None = None) -> None:
        super().__init__(message)
        self.message, self.plugin = message, plugin

    @classmethod
    def by(cls, plugin: Plugin, error: BaseException) -> BrokenPlugin:
        """That what it raised, or what ours raised over what it gave, is its own."""
        return cls(f"{plugin} fails: {type(error).__name__}: {error}", plugin)


class Records(Generic[T]):
    """The records of a kind, by name.

    Args:
        kind: as `metrics`: the entry points are of the group `vflc.metrics`.
        package: whose modules hold ours, each under its name.
        attribute: what the record is called in a module.
        type: of a record.
    """

    def __init__(self, kind: str, package: str, attribute: str, type: type[T]) -> None:
        self.kind, self._package, self._attribute, self._type = kind, package, attribute, type
        self._found: dict[str, T] = {}
        self.ours = _modules(package)

    def __contains__(self, name: object) -> bool:
        return name in self.ours or name in self._points()

    def names(self) -> tuple[str, ...]:
        """All of them, ours first."""
        return (*self.ours, *(name for name in sorted(self._points()) if name not in self.ours))

    def __getitem__(self, name: str) -> T:
        """The record of a name.

        Raises:
            KeyError: there is none.
            BrokenPlugin: it is another package's, and cannot be used.
        """
        if name not in self._found:
            if name in self.ours:
                made = getattr(import_module(f"{self._package}.{name}"), self._attribute)
            else:
                made = self._loaded(self._points()[name])
            self._found[name] = made
        return self._found[name]

    def __iter__(self) -> Iterator[T]:
        """Ours."""
        return (self[name] for name in self.ours)

    @contextmanager
    def using(self, name: str, *passing: type[Exception]) -> Iterator[T]:
        """The record of a name, whose code is called within.

        Args:
            name: one that there is.
            passing: errors that the code may raise.

        Raises:
            BrokenPlugin: another package's raises something else; what ours raises is a defect, as it stands.
        """
        record = self[name]
        try:
            yield record
        except Exception as error:
            if name in self.ours or isinstance(error, (*passing, BrokenPlugin)):
                raise
            raise BrokenPlugin.by(plugin(self.kind, self._points()[name][0]), error) from error

    def plugin(self, name: str) -> Plugin | None:
        """Where a record comes from; None for one of ours."""
        return None if name in self.ours else plugin(self.kind, self._points()[name][0])

    def _points(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        return entry_points(GROUPS + self.kind)

    def _loaded(self, points: tuple[EntryPoint, ...]) -> T:
        made = loaded(self.kind, points)
        if not isinstance(made, self._type) or made.name != points[0].name:
            wanted = f"{self._type.__name__} of that name"
            raise BrokenPlugin(f"{plugin(self.kind, points[0])} is no {wanted}: {made!r:.60}")
        return made


def _modules(package: str) -> tuple[str, ...]:
    """The names of the modules of a package, without importing it."""
    spec = util.find_spec(package)
    folders = spec.submodule_search_locations or () if spec is not None else ()
    return tuple(
        sorted(
            path.stem
            for folder in folders
            for path in Path(folder).iterdir()
            if path.suffix == ".py" and path.stem != "__init__"
        )
    )


@cache
def entry_points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of a group, by name: several where packages chose the same."""
    from importlib.metadata import entry_points

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        if point not in found.get(point.name, ()):
            found[point.name] = (*found.get(point.name, ()), point)
    return found


def loaded(kind: str, points: tuple[EntryPoint, ...]) -> Any:
    """What the entry points of a name lead to.

    Raises:
        BrokenPlugin: there are several, or it cannot be imported.
    """
    first, *others = points
    if others:
        packages = " and ".join(sorted({plugin(kind, point).package for point in points}))
        raise BrokenPlugin(f"{packages} both have {kind} {first.name!r}: uninstall one of them")
    try:
        return first.load()
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        raise BrokenPlugin(f"{plugin(kind, first)} cannot be loaded from {first.value}: {why}") from error


def plugin(kind: str, point: EntryPoint) -> Plugin:
    """The package behind an entry point."""
    package, version = (point.dist.name, point.dist.version) if point.dist is not None else ("?", "?")
    return Plugin(kind, point.name, package, version)


def at_fault(error: BaseException) -> BrokenPlugin | None:
    """What an error says of another package's record, where one raised it or called what did.

    The innermost of the functions under way that lies in a module of an entry point, or beside one, tells
    whose it is. `Records.using` alone tells the records of one module apart; here the first stands for all.
    """
    if isinstance(error, BrokenPlugin):
        return error
    from importlib.metadata import distributions

    points = [p for found in distributions() for p in found.entry_points if p.group.startswith(GROUPS)]
    running: list[str] = []
    at = error.__traceback__
    while at is not None:
        running.insert(0, str(at.tb_frame.f_globals.get("__name__")))
        at = at.tb_next
    for module in running:
        for whole in (True, False):
            for point in points:
                if module == point.module or (not whole and _top(module) == _top(point.module)):
                    return BrokenPlugin.by(plugin(point.group.removeprefix(GROUPS), point), error)
    return None


def _top(module: str) -> str:
    return module.partition(".")[0]
