"""Every op of the language, defined once; `OPS` and `FUNCTIONS` hold them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from vflc.ir.types import TensorType

# Importing a module registers its ops; functions come after the ops they are made of.
from vflc.ops import (  # noqa: F401  isort: skip
    arithmetic, compare, activation, reduce, shape, join, linear, table, source, mode, cross_entropy,
    elementwise, structure, layers, embedding, loss, sequence, protect,
)  # fmt: skip
from vflc.ops.registry import FUNCTIONS, OPS, Function, Op, OpError, Parameter

__all__ = [
    "FUNCTIONS",
    "OPS",
    "Function",
    "Op",
    "OpError",
    "Parameter",
    "find_function",
    "infer",
    "load_plugins",
]


@cache
def load_plugins() -> None:
    """Imports the modules that other packages name in the entry point group `vflc.ops`, once.

    Only on the first name that nobody here defines: the search costs more than all imports here.
    """
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group="vflc.ops"), key=lambda p: p.name):
        point.load()


def find_function(name: str) -> Function | None:
    """The function of that name, also of other packages, or None."""
    if name not in FUNCTIONS:
        load_plugins()
    return FUNCTIONS.get(name)


def infer(op: str, types: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
    """The type of an op's output.

    Raises:
        OpError: the inputs do not fit the op.
    """
    return OPS[op].infer(types, attrs)
