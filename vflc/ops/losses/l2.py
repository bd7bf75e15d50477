"""A penalty on squares of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.kinds import AxisName, WeightNodes, flat
from vflc.ops.penalty import penalty
from vflc.ops.registry import function

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


@function
def l2(b: Build, coefficient: float, *weights: WeightNodes, rows: AxisName = "batch") -> Node:
    """Half of `coefficient` times the sum of squares; of tables, the rows of the batch, or `all`."""
    return penalty(b, "l2", float(coefficient), flat(weights), rows)
