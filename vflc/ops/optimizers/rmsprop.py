"""A rate divided by a running size of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.missed import Missed, Power
from vflc.ops.optimizer import LAZY, Optimizer, Updated, no_eps, times
from vflc.ops.rates import rate
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _rmsprop_slots(o: Options) -> dict[str, float]:
    names = ["velocity", *["momentum"] * bool(o["momentum"]), *["average"] * bool(o["centered"])]
    return dict.fromkeys(names, 0.0)


def _rmsprop(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    def mixed(old: Node, now: Node) -> Node:
        return b.op("add", times(b, o["rho"], old), times(b, 1 - o["rho"], now))

    new = {"velocity": mixed(slots["velocity"], b.op("square", g))}
    spread = new["velocity"]
    if o["centered"]:
        new["average"] = mixed(slots["average"], g)
        spread = b.op("sub", spread, b.op("square", new["average"]))
    scale = b.op("sqrt", b.op("add", spread, number(b, o["eps"])))
    move = b.op("div", b.op("mul", rate(b, step, o["lr"]), g), scale)
    if o["momentum"]:
        move = new["momentum"] = b.op("add", times(b, o["momentum"], slots["momentum"]), move)
    return b.op("sub", w, move), new


def _rmsprop_missed(o: Options) -> dict[str, Missed]:
    return {"kept": Power(o["rho"]), **({"slower": Power(o["momentum"])} if o["momentum"] else {})}


def _rmsprop_catch_up(
    b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options
) -> Updated:
    new = {name: b.op("mul", slots[name], missed["kept"]) for name in slots if name != "momentum"}
    if o["momentum"]:
        new["momentum"] = b.op("mul", slots["momentum"], missed["slower"])
        left = b.op("sub", slots["momentum"], new["momentum"])
        w = b.op("sub", w, times(b, o["momentum"] / (1 - o["momentum"]), left))
    return w, new


OPTIMIZER = Optimizer(
    "rmsprop", "The rate is divided by a running root mean square of the gradient (Tieleman & Hinton 2012).",
    {"lr": 0.001, "rho": 0.9, "momentum": 0.0, "eps": 1e-7, "centered": False, **LAZY},
    _rmsprop_slots, _rmsprop, _rmsprop_missed, None, _rmsprop_catch_up, no_eps,
    keras="RMSprop", keras_options={"eps": "epsilon"},
)  # fmt: skip
