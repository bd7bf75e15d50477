"""Every op of the language, defined once; `OPS` and `FUNCTIONS` hold them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vflc_common.plugins import BrokenPlugin, Plugin, entry_points, loaded, plugin

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
    "PLUGINS",
    "Function",
    "Op",
    "OpError",
    "Parameter",
    "find_function",
    "infer",
]


KIND = "functions"
"""Other packages' functions are entry points of the group `vflc.functions`, each under its own name."""


def find_function(name: str) -> Function | None:
    """The function of that name, also of other packages, or None.

    Raises:
        BrokenPlugin: it is another package's, and cannot be used.
    """
    if name not in FUNCTIONS and (points := entry_points(f"vflc.{KIND}").get(name)):
        loaded(KIND, points)
        if name not in FUNCTIONS:
            package = plugin(KIND, points[0])
            text = f"{points[0].value} of the package {package.package} {package.version} makes no function"
            raise BrokenPlugin(f"{text} {name!r}")
        PLUGINS[name] = plugin(KIND, points[0])
    return FUNCTIONS.get(name)


PLUGINS: dict[str, Plugin] = {}
"""Where functions come from that are none of ours, once they were asked for."""


def infer(op: str, types: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
    """The type of an op's output.

    Raises:
        OpError: the inputs do not fit the op.
    """
    return OPS[op].infer(types, attrs)
