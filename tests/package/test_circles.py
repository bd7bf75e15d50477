"""No two files import each other, not by way of others either, nor inside functions, nor for types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from package.statements import statements

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "vflc": ROOT / "vflc",
    "vflc_common": ROOT / "runtime" / "vflc_common",
    "vflc_kernels": ROOT / "runtime" / "vflc_kernels",
    "vflc_runtime": ROOT / "runtime" / "vflc_runtime",
}
DOORS = {"vflc"}
"""A package's own file, of which others take the version while it opens the package for its users."""
TO_DO = "vflc.importing."
"""What reads files of other tools is still being built."""


@cache
def files() -> Mapping[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(code: str) -> Iterator[str]:
    """Modules of ours that code names in an import, wherever it stands."""
    for node, _ in statements(ast.parse(code).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files())
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in files() else node.module


@cache
def arrows() -> Mapping[str, frozenset[str]]:
    found = {}
    for name, path in files().items():
        read = {each for each in imported(path.read_text("utf-8")) if each in files()}
        found[name] = frozenset(read - {name} - DOORS)
    return found


def circle(start: str) -> list[str]:
    """The shortest way from a module back to itself; empty where there is none."""
    ways, seen = [[start]], {start}
    for way in ways:
        for following in sorted(arrows()[way[-1]]):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_imports_itself_by_way_of_others(package: str) -> None:
    names = [name for name in files() if name.split(".")[0] == package and not name.startswith(TO_DO)]
    assert len(names) > (2 if package == "vflc_kernels" else 30)
    assert [found for name in names if (found := circle(name))] == []


def test_every_import_is_seen() -> None:
    code = "def f():\n    from vflc.ops import OPS, table\nif TYPE_CHECKING:\n    import vflc.ir.graph, re\n"
    assert sorted(imported(code)) == ["vflc.ir.graph", "vflc.ops", "vflc.ops.table"]
