"""Every op of the language, defined once; `OPS` and `FUNCTIONS` hold them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vflc_common.plugins import BrokenPlugin, Plugin, entry_points, loaded, plugin

from vflc.ir.budget import TooLarge
from vflc.ir.build import Build
from vflc.ir.types import TensorType

# Importing a module registers its ops; functions come after the ops they are made of.
from vflc.ops import (  # noqa: F401  isort: skip
    arithmetic, compare, activation, reduce, shape, join, linear, table, source, mode, windows,
    elementwise, structure, layers, embedding, sequence, recurrent, convolution, protect, outside,
    woe, others,
)  # fmt: skip
from vflc.ops.losses import (  # noqa: F401  isort: skip
    bce, cce, focal, hinge, mse, mae, huber, quantile, poisson, gaussian_nll,
    ordinal, bpr, triplet, info_nce, l1, l2,
)  # fmt: skip
from vflc.ops.loss import LOSSES
from vflc.ops.registry import FUNCTIONS, OPS, Function, FunctionParameter, Op, OpError
from vflc.ops.rules import as_node

__all__ = [
    "FUNCTIONS",
    "LOSSES",
    "OPS",
    "PLUGINS",
    "Function",
    "FunctionParameter",
    "Op",
    "OpError",
    "expand",
    "find_function",
    "infer",
    "known_functions",
]


KINDS = ("functions", "losses")
"""Those of other packages are entry points of these groups, as `vflc.losses`, each under its own name."""


def find_function(name: str) -> Function | None:
    """The function or loss of that name, also of other packages, or None.

    Raises:
        BrokenPlugin: it is another package's, and cannot be used.
    """
    for kind in KINDS:
        if name not in FUNCTIONS and (points := entry_points(f"vflc.{kind}").get(name)):
            loaded(kind, points)
            if name not in (FUNCTIONS if kind == "functions" else LOSSES):
                whose = plugin(kind, points[0])
                text = f"{points[0].value} of the package {whose.package} {whose.version} makes none of the"
                raise BrokenPlugin(f"{text} {kind} {name!r}")
            PLUGINS[name] = plugin(kind, points[0])
    return FUNCTIONS.get(name)


def known_functions() -> tuple[str, ...]:
    """The names of all of them."""
    return (*FUNCTIONS, *(name for kind in KINDS for name in entry_points(f"vflc.{kind}")))


def expand(name: str, b: Build, *arguments: Any, **named: Any) -> Any:
    """What a function that was found makes of its arguments, added to the graph at hand.

    Raises:
        OpError: the arguments do not fit it.
        TooLarge: what it makes is.
        BrokenPlugin: it is another package's, and raises something else or makes no value of a graph.
    """
    try:
        made = FUNCTIONS[name].expand(b, *arguments, **named)
        return as_node(made) if name in PLUGINS else made
    except (OpError, TooLarge):
        raise
    except Exception as error:
        if name in PLUGINS:
            raise BrokenPlugin.by(PLUGINS[name], error) from error
        raise


PLUGINS: dict[str, Plugin] = {}
"""Where functions come from that are none of ours, once they were asked for."""


def infer(op: str, types: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
    """The type of an op's output.

    Raises:
        OpError: the inputs do not fit the op.
    """
    return OPS[op].infer(types, attrs)
