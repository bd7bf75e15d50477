"""encode.py with the encoders in it: their own Python, and what that uses, written out."""

from __future__ import annotations

import ast
import dis
import inspect
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
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
_PLACE = "STEPS: EncodeSteps = {}\n"


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
    script, lines = _Script(taken), []
    for name, (takes, function) in steps(sorted({*ENCODERS.ours, *names})).items():
        try:
            own = script.function(function)
        except (OSError, TypeError, _NotAlone) as why:
            raise _refused(name, str(why)) from None
        lines.append(f"    {name!r}: ({takes!r}, {own}),\n")
    made = f"{_PLACE.removesuffix('}' + chr(10))}\n{''.join(lines)}}}\n"
    return base.replace(_PLACE, "").replace("# --- columns", f"{script.text}\n\n{made}\n\n# --- columns", 1)


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


class _Script:
    """What encoders use, each under a name of its own: those of two packages may be called alike."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.text = ""
        self._taken = {*taken}
        self._names: dict[object, str] = {}

    def function(self, function: Callable[..., Any]) -> str:
        """Adds a function, after all that it uses; what it is called."""
        if not inspect.isfunction(function) or not function.__name__.isidentifier() or function.__closure__:
            raise _NotAlone(f"{function!r:.60} is not a function that stands by itself in its module")
        if function not in self._names:
            self._names[function] = self._free(function.__name__)
            names = {function.__name__: self._names[function]}
            for name in dict.fromkeys(_globals(function.__code__)):
                if name not in function.__globals__:
                    continue  # Python's own
                value = function.__globals__[name]
                if isinstance(value, ModuleType):
                    if MODULES.get(name) is not value:
                        raise _NotAlone(f"it uses the module {value.__name__} as {name}")
                elif inspect.isfunction(value):
                    names[name] = self.function(value)
                else:
                    names[name] = self._constant(name, value)
            self.text += f"\n\n{_renamed(function, names)}"
        return self._names[function]

    def _constant(self, name: str, value: Any) -> str:
        text = _constant(name, value)
        if (name, text) not in self._names:
            own = self._names[name, text] = self._free(name)
            self.text += f"{own} = {text}\n"
        return self._names[name, text]

    def _free(self, name: str) -> str:
        """The name itself, or with a number after it where it stands for something else."""
        own = next(each for n in count(1) if (each := name if n == 1 else f"{name}_{n}") not in self._taken)
        self._taken.add(own)
        return own


def _renamed(function: Callable[..., Any], names: Mapping[str, str]) -> str:
    """The text of a function with other names for what it reads in its module."""
    text, changed = inspect.getsource(function), {name: own for name, own in names.items() if name != own}
    if not changed:
        return text
    for name in changed.keys() & {*_locals(function.__code__)}:
        raise _NotAlone(f"another {name!r} is there already, and it has a variable of that name, too")
    tree = ast.parse(text)
    at = [
        (n.lineno, n.col_offset, n.id) for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in changed
    ]
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    if function.__name__ in changed:
        at.append((tree.body[0].lineno, len("def "), function.__name__))
    for line, column, name in sorted(at, reverse=True):
        whole = lines[line - 1]
        lines[line - 1] = whole[:column] + changed[name].encode() + whole[column + len(name.encode()) :]
    return b"".join(lines).decode()


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


def _locals(code: CodeType) -> Iterator[str]:
    """Names of variables of a function, and of those inside it."""
    yield from (*code.co_varnames, *code.co_cellvars)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _locals(inner)


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
