"""Stages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vflc.ops.rates import highest, reaches_zero
from vflc.ops.registry import Options
from vflc.ops.rules import number
from vflc.ops.schedule import Schedule

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _make(b: Build, done: Node, o: Options) -> Node:
    stage = b.op("floor", b.op("div", done, number(b, o["every"])))
    return b.op("mul", number(b, o["lr"]), b.op("pow", number(b, o["factor"]), stage))


SCHEDULE = Schedule(
    "step", "Multiplies the rate by `factor` each time that `every` steps are done.",
    {"lr": None, "every": None, "factor": 0.1}, _make,
    highest=lambda o: math.inf if o["factor"] > 1 and o["lr"] else highest(o["lr"]),
    reaches_zero=lambda o: reaches_zero(o["lr"]),
)  # fmt: skip
