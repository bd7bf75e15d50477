"""Follow the regularized leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.missed import Missed, Newest, SeriesRule
from vflc.ops.optimizer import LAZY, SMALLEST, STILL, Optimizer, Updated
from vflc.ops.rates import rate, reaches_zero
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _ftrl_slots(o: Options) -> dict[str, float]:
    return {"accumulator": float(o["initial"]), "linear": 0.0}


def _ftrl(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    lr = rate(b, step, o["lr"])
    total = b.op("add", slots["accumulator"], b.op("square", g))
    grown = b.op("div", b.op("sub", _root(b, total, o), _root(b, slots["accumulator"], o)), lr)
    linear = b.op("add", slots["linear"], b.op("sub", g, b.op("mul", grown, w)))
    new = {"accumulator": total, "linear": linear}
    return _ftrl_weight(b, new, lr, o), new


def _root(b: Build, x: Node, o: Options) -> Node:
    return b.op("sqrt", x) if o["lr_power"] == -0.5 else b.op("pow", x, number(b, -o["lr_power"]))


def _ftrl_weight(b: Build, slots: dict[str, Node], lr: Node, o: Options) -> Node:
    """The weight follows from what is kept for it, whatever it was before."""
    quadratic = b.op("add", b.op("div", _root(b, slots["accumulator"], o), lr), number(b, 2 * o["l2"]))
    shrunk = b.op("clip", slots["linear"], low=-float(o["l1"]), high=float(o["l1"]))
    return b.op("div", b.op("sub", shrunk, slots["linear"]), quadratic)


def _ftrl_missed(o: Options) -> dict[str, Missed]:
    return {"lr": Newest("lr")}


def _ftrl_series(o: Options) -> dict[str, SeriesRule]:
    return {"lr": lambda b, step: rate(b, step, o["lr"])}


def _ftrl_catch_up(b: Build, w: Node, slots: dict[str, Node], missed: dict[str, Node], o: Options) -> Updated:
    """A step without a gradient makes the weight anew by its own rate: a first one takes it to 0."""
    started = b.op("greater", missed["lr"], number(b, 0))
    return b.op("where", started, _ftrl_weight(b, slots, missed["lr"], o), w), slots


def _refuses(o: Options) -> tuple[str, str] | None:
    if reaches_zero(o["lr"]):
        help = "keep the rate above 0 in every step: no `warmup`, and `cosine` with an `alpha` above 0"
        return "`lr` is or becomes 0, and its formula divides by it", help
    if max(o["initial"], o["l2"]) < SMALLEST:
        return f"`initial` and `l2` are 0: {STILL}", "set one of them above 0"
    return None


OPTIMIZER = Optimizer(
    "ftrl", "Follow the regularized leader; `l1` makes weights sparse (McMahan et al. 2013).",
    {"lr": 0.001, "l1": 0.0, "l2": 0.0, "initial": 0.1, "lr_power": -0.5, **LAZY},
    _ftrl_slots, _ftrl, _ftrl_missed, _ftrl_series, _ftrl_catch_up, _refuses, keras="Ftrl",
    keras_options={
        "initial": "initial_accumulator_value", "l1": "l1_regularization_strength",
        "l2": "l2_regularization_strength", "lr_power": "learning_rate_power",
    },
)  # fmt: skip
