"""Adam with weight decay apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.missed import Missed, Power, Product, SeriesRule
from vflc.ops.optimizer import LAZY, Optimizer, Updated, no_eps, times
from vflc.ops.optimizers.adam import ADAM, KERAS, adam, adam_catch_up, adam_moves, adam_series, adam_slots
from vflc.ops.rates import highest, rate
from vflc.ops.registry import Options
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def _adamw_missed(o: Options) -> dict[str, Missed]:
    means: dict[str, Missed] = {"m": Power(o["beta1"]), "v": Power(o["beta2"]), "kept": Product("kept")}
    return {**means, **adam_moves(o, "kept")}


def _adamw_series(o: Options) -> dict[str, SeriesRule]:
    def kept(b: Build, step: Node) -> Node:
        return b.op("sub", number(b, 1), times(b, o["weight_decay"], rate(b, step, o["lr"])))

    return {**adam_series(o), "kept": kept}


def _adamw(b: Build, w: Node, g: Node, step: Node, slots: dict[str, Node], o: Options) -> Updated:
    decay = b.op("mul", times(b, o["weight_decay"], w), rate(b, step, o["lr"]))
    return adam(b, b.op("sub", w, decay), g, step, slots, o)


def _refuses(o: Options) -> tuple[str, str] | None:
    if (share := o["weight_decay"] * highest(o["lr"])) >= 1:
        what = f"`weight_decay` times the highest `lr` is {share:g}: a step takes that share of a weight away"
        return what, "choose a `weight_decay` below 1 / lr"
    return None


OPTIMIZER = Optimizer(
    "adamw", "Adam with decoupled weight decay (Loshchilov & Hutter 2019).",
    {**ADAM, "weight_decay": 0.004, **LAZY}, adam_slots, _adamw,
    _adamw_missed, _adamw_series, adam_catch_up, lambda o: no_eps(o) or _refuses(o),
    close=True, keras="AdamW", keras_options=KERAS,
)  # fmt: skip
