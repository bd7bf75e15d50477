"""A rise, and what comes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vflc.ops.rates import highest, rate_after
from vflc.ops.registry import Options
from vflc.ops.rules import number
from vflc.ops.schedule import Schedule

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _then(o: Options) -> Any:
    return o["lr"] if o["then"] == "lr" else o["then"]


def _make(b: Build, done: Node, o: Options) -> Node:
    steps = number(b, o["steps"])
    rising = b.op("mul", b.op("div", done, steps), number(b, o["lr"]))
    later = rate_after(b, b.op("maximum", b.op("sub", done, steps), number(b, 0)), _then(o))
    return b.op("where", b.op("less", done, steps), rising, later)


SCHEDULE = Schedule(
    "warmup", "Rises linearly from 0 over `steps` steps, then stays, or continues as the schedule `then`.",
    {"lr": None, "steps": None, "then": "lr"}, _make,
    highest=lambda o: max(highest(o["lr"]), highest(_then(o))),
    rates=("then",),
)  # fmt: skip
