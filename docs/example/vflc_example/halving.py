"""A rate that falls by halves, smoothly."""

from vflc.ir.build import Build
from vflc.ir.graph import Node
from vflc.ops.rates import highest
from vflc.ops.registry import Options
from vflc.ops.rules import number
from vflc.ops.schedule import Schedule


def make(b: Build, done: Node, o: Options) -> Node:
    """lr · 2^(-done / every)."""
    halvings = b.op("neg", b.op("div", done, number(b, o["every"])))
    return b.op("mul", number(b, o["lr"]), b.op("pow", number(b, 2), halvings))


SCHEDULE = Schedule(
    name="halving",
    doc="Half the rate after `every` so many steps, falling in each of them.",
    parameters={"lr": None, "every": None},
    make=make,
    highest=lambda o: highest(o["lr"]),
)
