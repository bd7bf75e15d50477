"""Gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vflc.ops.missed import Matrix, Missed, Power, SeriesRule
from vflc.ops.optimizer import LAZY, Optimizer, Updated, times
from vflc.ops.rates import rate
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _sgd_slots(o: Options) -> dict[str, float]:
    return {"momentum": 0.0} if o["momentum"] else {}


def _sgd(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    descent = b.op("mul", g, rate(b, step, o["lr"]))
    if not o["momentum"]:
        return b.op("sub", w, descent), {}
    velocity = b.op("sub", times(b, o["momentum"], slots["momentum"]), descent)
    move = b.op("sub", times(b, o["momentum"], velocity), descent) if o["nesterov"] else velocity
    return b.op("add", w, move), {"momentum": velocity}


def _sgd_missed(o: Options) -> dict[str, Missed]:
    return {"slower": Power(o["momentum"])} if o["momentum"] else {}


def _sgd_catch_up(b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options) -> Updated:
    """The velocity holds the rates of the past: whatever the schedule, what is left is a geometric sum."""
    mu, velocity = o["momentum"], slots["momentum"]
    slower = b.op("mul", velocity, missed["slower"])
    ahead = mu if o["nesterov"] else 1.0
    return b.op("add", w, times(b, ahead * mu / (1 - mu), b.op("sub", velocity, slower))), {
        "momentum": slower
    }


def _under_l2(l2: float) -> Optimizer:
    """A step is linear in the weight and its velocity, and the same for all rows: with h = lr·l2 it is
    velocity ← μ·velocity - h·weight, weight ← weight + velocity or, where it looks ahead,
    weight + μ·velocity - h·weight. Any number of them is one matrix.
    """

    def shrinks(o: Options) -> dict[str, Missed]:
        if not o["momentum"]:
            return {"ww": Matrix((("ww",),), 0, 0)}
        entries = (("ww", "wu"), ("uw", "uu"))
        return {entries[i][j]: Matrix(entries, i, j) for i in (0, 1) for j in (0, 1)}

    def series(o: Options) -> dict[str, SeriesRule]:
        momentum, ahead = o["momentum"], o["momentum"] if o["nesterov"] else 0.0

        def less(scale: float, start: float) -> SeriesRule:
            return lambda b, step: b.op(
                "sub", number(b, start), b.op("mul", number(b, scale), rate(b, step, o["lr"]))
            )

        def always(value: float) -> SeriesRule:
            return lambda b, step: number(b, value)

        found = {"ww": less(l2 * (1 + ahead), 1.0)}
        if momentum:
            found |= {"wu": always(momentum * (ahead or 1.0)), "uw": less(l2, 0.0), "uu": always(momentum)}
        return found

    def catch_up(b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options) -> Updated:
        kept = b.op("mul", w, missed["ww"])
        if not o["momentum"]:
            return kept, {}
        velocity = slots["momentum"]
        weight = b.op("add", kept, b.op("mul", velocity, missed["wu"]))
        return weight, {
            "momentum": b.op("add", b.op("mul", w, missed["uw"]), b.op("mul", velocity, missed["uu"]))
        }

    return replace(OPTIMIZER, make_missed=shrinks, make_series=series, make_catch_up=catch_up)


OPTIMIZER = Optimizer(
    "sgd", "Gradient descent, with `momentum` (Polyak 1964) or Nesterov's momentum (1983).",
    {"lr": 0.01, "momentum": 0.0, "nesterov": False, **LAZY}, _sgd_slots, _sgd,
    _sgd_missed, None, _sgd_catch_up, under_l2=_under_l2, keras="SGD",
)  # fmt: skip
