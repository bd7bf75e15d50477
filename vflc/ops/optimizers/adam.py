"""Adaptive moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from vflc.ops.missed import Missed, Power, SeriesRule, Sum
from vflc.ops.optimizer import LAZY, Optimizer, Updated, less_power, no_eps, times
from vflc.ops.rates import rate
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def adam_slots(o: Options) -> dict[str, float]:
    return {"m": 0.0, "v": 0.0}


def adam_size(b: Build, step: Node, o: Options) -> Node:
    """What a weight moves by where m and √v are equal."""
    first, second = less_power(b, o["beta1"], step), less_power(b, o["beta2"], step)
    means = (1 - o["beta1"]) / math.sqrt(1 - o["beta2"])
    lr = b.op("mul", rate(b, step, o["lr"]), number(b, means))
    return b.op("div", b.op("mul", lr, b.op("sqrt", second)), first)


def _adam_speed(b: Build, m: Node, v: Node, o: Options) -> Node:
    return b.op("div", m, b.op("add", b.op("sqrt", v), number(b, _adam_eps(o))))


def _adam_eps(o: Options) -> float:
    """What eps is where v is a sum, not a mean."""
    return float(o["eps"] / math.sqrt(1 - o["beta2"]))


def adam(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    """`m` and `v` are sums of what running means are of: two passes over all weights fewer."""
    m = b.op("add", times(b, o["beta1"], slots["m"]), g)
    v = b.op("add", times(b, o["beta2"], slots["v"]), b.op("square", g))
    move = b.op("mul", _adam_speed(b, m, v, o), adam_size(b, step, o))
    return b.op("sub", w, move), {"m": m, "v": v}


def _adam_missed(o: Options) -> dict[str, Missed]:
    return {"m": Power(o["beta1"]), "v": Power(o["beta2"]), **adam_moves(o)}


def adam_moves(o: Options, kept: str | None = None) -> dict[str, Missed]:
    """What momentum goes on moving a row by, as a polynomial in what eps has of the divisor.

    The i-th step after a gradient moves a weight by size·β1^i·m / (β2^(i/2)·√v + ε). With
    x = ε / (√v + ε) that is m / (√v + ε) times size·ρ^i / (1 + x·(β2^(-i/2) - 1)), ρ = β1/√β2. The sum
    over the steps that were missed is a smooth function of x, the same for all weights; here is the
    parabola through its values at x = 0, 1/2 and 1.
    """
    if not o["beta1"]:
        return {}
    growth = 1 / math.sqrt(o["beta2"]) if o["beta2"] else math.inf
    return {
        name: Sum("size", o["beta1"] * growth, growth, mix, kept)
        for name, mix in (
            ("x0", ((1, 0),)),
            ("x1", ((-3, 0), (4, 0.5), (-1, 1))),
            ("x2", ((2, 0), (-4, 0.5), (2, 1))),
        )
    }


def adam_series(o: Options) -> dict[str, SeriesRule]:
    return {"size": lambda b, step: adam_size(b, step, o)}


def adam_catch_up(b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options) -> Updated:
    m, v = slots["m"], slots["v"]
    new = {"m": b.op("mul", m, missed["m"]), "v": b.op("mul", v, missed["v"])}
    eps = number(b, _adam_eps(o))
    if "kept" in missed:
        w = b.op("mul", w, missed["kept"])
    if "x0" not in missed:  # without beta1 there is no momentum
        return w, new
    divisor = b.op("add", b.op("sqrt", v), eps)
    x = b.op("div", eps, divisor)
    moves = missed["x2"]
    for name in ("x1", "x0"):
        moves = b.op("add", b.op("mul", x, moves), missed[name])
    return b.op("sub", w, b.op("mul", b.op("div", m, divisor), moves)), new


ADAM: dict[str, Any] = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7}
KERAS = {"beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon"}

OPTIMIZER = Optimizer(
    "adam", "Adaptive moment estimation (Kingma & Ba 2015).", {**ADAM, **LAZY}, adam_slots, adam,
    _adam_missed, adam_series, adam_catch_up, no_eps, close=True, keras="Adam", keras_options=KERAS,
)  # fmt: skip
