"""Half a cosine."""

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
    share = b.op("div", b.op("minimum", done, number(b, o["steps"])), number(b, o["steps"]))
    wave = b.op("add", b.op("cos", b.op("mul", share, number(b, math.pi))), number(b, 1))
    height = b.op("mul", wave, number(b, 0.5 * (1 - o["alpha"])))
    return b.op("mul", b.op("add", height, number(b, o["alpha"])), number(b, o["lr"]))


SCHEDULE = Schedule(
    "cosine", "Falls from `lr` to `alpha` times `lr` along half a cosine, over `steps` steps.",
    {"lr": None, "steps": None, "alpha": 0.0}, _make,
    highest=lambda o: highest(o["lr"]),
    reaches_zero=lambda o: o["alpha"] == 0 or reaches_zero(o["lr"]),
)  # fmt: skip
