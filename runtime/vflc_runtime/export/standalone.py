"""encode.py with the encoders in it: their own Python, and what that uses, written out."""

from __future__ import annotations

import ast
import dis
import inspect
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from vflc_common.encoders import ENCODERS

from vflc_runtime.errors import Failure
from vflc_runtime.export import encode

NAME = "encode.py"
MODULES = {"math": math, "re": re, "unicodedata": unicodedata}
"""What encode.py imports, so that an encoder may use it."""
PLAIN = (bool, int, float, str, bytes, type(None))
_PLACE = "STEPS: Steps = {}\n"


def steps(names: Iterable[str]) -> dict[str, tuple[str, Callable[[Any, encode.EncodeStep], Any]]]:
    """Of each encoder what its function is given, and the function."""
    found = ((name, ENCODERS[name].python) for name in names)
    return {name: (python.takes, python.function) for name, python in found}


def source(names: Iterable[str]) -> str:
    """encode.py that knows vflc's encoders and those of `names`.

    Raises:
        Failure: VFL0504, one of another package uses what cannot be written out.
    """
    base = Path(encode.__file__).read_text(encoding="utf-8")
    taken = {name for node in ast.parse(base).body for name in _bound(node)}
    written: dict[str, str] = {}
    lines = []
    for name, (takes, function) in steps(sorted({*ENCODERS.ours, *names})).items():
        try:
            _write(function, written, taken)
        except (OSError, TypeError, _NotAlone) as why:
            raise _refused(name, str(why)) from None
        lines.append(f"    {name!r}: ({takes!r}, {function.__name__}),\n")
    parts = "".join(written.values())
    made = f"{_PLACE.removesuffix('}' + chr(10))}\n{''.join(lines)}}}\n"
    return base.replace(_PLACE, "").replace("# --- columns", f"{parts}\n\n{made}\n\n# --- columns", 1)


class _NotAlone(Exception):
    """A function needs more than can be written out."""


def _refused(name: str, why: str) -> Failure:
    plugin = ENCODERS.plugin(name)
    assert plugin is not None, f"{name} is ours, and {why}"
    return Failure(
        "VFL0504",
        f"{name!r} of the package {plugin.package} {plugin.version} cannot be written into {NAME}: {why}",
        f"report it to {plugin.package}: docs/extending.md says what the Python of an encoder may use",
    )


def _write(function: Callable[..., Any], written: dict[str, str], taken: set[str]) -> None:
    """Adds a function, after all that it uses."""
    if not inspect.isfunction(function) or not function.__name__.isidentifier() or function.__closure__:
        raise _NotAlone(f"{function!r:.60} is not a function that stands by itself in its module")
    text = inspect.getsource(function)
    if written.get(function.__name__) == text:
        return
    for name in dict.fromkeys(_globals(function.__code__)):
        if name not in function.__globals__:
            continue  # Python's own
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            if MODULES.get(name) is not value:
                raise _NotAlone(f"it uses the module {value.__name__} as {name}")
        elif inspect.isfunction(value):
            if value is not function:
                _write(value, written, taken)
        else:
            _add(name, f"{name} = {_constant(name, value)}\n", written, taken)
    _add(function.__name__, f"\n\n{text}", written, taken)


def _add(name: str, text: str, written: dict[str, str], taken: set[str]) -> None:
    if name in taken or written.setdefault(name, text) != text:
        raise _NotAlone(f"another {name!r} is there already")


def _constant(name: str, value: Any) -> str:
    if isinstance(value, re.Pattern):
        return f"re.compile({value.pattern!r}, {value.flags})"
    for part in value if isinstance(value, tuple) else (value,):
        if not isinstance(part, PLAIN):
            raise _NotAlone(f"it uses {name}, a {type(value).__name__}")
    return repr(value)


def _globals(code: CodeType) -> Iterator[str]:
    """Names that are looked up in the module, also by functions inside the function."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner)


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
