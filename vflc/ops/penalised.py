"""Optimizers whose steps have a penalty on all rows in them, also those of rows that no batch reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vflc.ops.missed import Matrix, Missed, Series
from vflc.ops.optimizers import OPTIMIZERS, Optimizer, Options, Updated, rate
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node
    from vflc.ir.model import OptimizerRule, Penalty


def makes_up(rule: OptimizerRule) -> bool:
    """Whether rows of tables have to catch up with steps that they missed."""
    return bool(rule.penalty or OPTIMIZERS[rule.name].missed(rule.options))


def with_penalty(b: Build, weight: Node, gradient: Node, penalty: Penalty) -> Node:
    """The gradient of the loss and of the penalty."""
    if penalty.l2:
        gradient = b.op("add", gradient, b.op("mul", number(b, penalty.l2), weight))
    if penalty.l1:
        gradient = b.op("add", gradient, b.op("mul", number(b, penalty.l1), b.op("sign", weight)))
    return gradient


def in_one_go(rule: OptimizerRule, clip_value: float | None) -> Optimizer | None:
    """What makes up for steps without going through them one by one; None where there is no such thing.

    A step of SGD is linear in the weight and its velocity where the penalty is quadratic, and the same for
    all rows: with h = lr·l2 it is velocity ← μ·velocity - h·weight, weight ← weight + velocity or, where it
    looks ahead, weight + μ·velocity - h·weight. Any number of them is one matrix. Adam, RMSprop, Adagrad and
    FTRL divide by roots of what each weight has seen; l1 and cutting gradients off turn on signs and sizes.
    """
    if not rule.penalty:
        return OPTIMIZERS[rule.name]
    if rule.name != "sgd" or rule.penalty.l1 or clip_value is not None:
        return None
    l2 = rule.penalty.l2

    def shrinks(o: Options) -> dict[str, Missed]:
        if not o["momentum"]:
            return {"ww": Matrix((("ww",),), 0, 0)}
        entries = (("ww", "wu"), ("uw", "uu"))
        return {entries[i][j]: Matrix(entries, i, j) for i in (0, 1) for j in (0, 1)}

    def series(o: Options) -> dict[str, Series]:
        momentum, ahead = o["momentum"], o["momentum"] if o["nesterov"] else 0.0

        def less(scale: float, start: float) -> Series:
            return lambda b, step: b.op(
                "sub", number(b, start), b.op("mul", number(b, scale), rate(b, step, o["lr"]))
            )

        def always(value: float) -> Series:
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

    return replace(OPTIMIZERS["sgd"], make_missed=shrinks, make_series=series, make_catch_up=catch_up)
