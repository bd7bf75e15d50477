"""Every op of the language, defined once; `OPS` and `FUNCTIONS` hold them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from vflc.ir.types import TensorType
from vflc.ops import activation, arithmetic, compare, linear, mode, reduce, shape, source, table
from vflc.ops.registry import FUNCTIONS, OPS, Function, Op, OpError, Parameter

__all__ = ["FUNCTIONS", "OPS", "Function", "Op", "OpError", "Parameter", "infer"]


def infer(op: str, types: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
    """The type of an op's output.

    Raises:
        OpError: the inputs do not fit the op.
    """
    return OPS[op].infer(types, attrs)
