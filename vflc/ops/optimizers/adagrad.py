"""A rate for each weight that falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.optimizer import LAZY, SMALLEST, STILL, Optimizer, Updated
from vflc.ops.rates import rate
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _adagrad_slots(o: Options) -> dict[str, float]:
    return {"accumulator": float(o["initial"])}


def _adagrad(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    total = b.op("add", slots["accumulator"], b.op("square", g))
    descent = b.op("mul", rate(b, step, o["lr"]), g)
    move = b.op("div", descent, b.op("sqrt", b.op("add", total, number(b, o["eps"]))))
    return b.op("sub", w, move), {"accumulator": total}


def _refuses(o: Options) -> tuple[str, str] | None:
    if max(o["initial"], o["eps"]) < SMALLEST:
        return f"`initial` and `eps` are 0: {STILL}", "set one of them above 0"
    return None


OPTIMIZER = Optimizer(
    "adagrad", "A rate for each weight, which falls as its squared gradients add up (Duchi et al. 2011).",
    {"lr": 0.001, "initial": 0.1, "eps": 1e-7, **LAZY}, _adagrad_slots, _adagrad, refuses=_refuses,
    keras="Adagrad", keras_options={"initial": "initial_accumulator_value", "eps": "epsilon"},
)  # fmt: skip
