"""Optimizers whose steps have a penalty on all rows in them, also those of rows that no batch reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.optimizer import Optimizer
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node
    from vflc.ir.model import OptimizerRule, Penalty


def makes_up(rule: OptimizerRule) -> bool:
    """Whether rows of tables have to catch up with steps that they missed."""
    with OPTIMIZERS.using(rule.name) as optimizer:
        return bool(rule.penalty or optimizer.missed(rule.options))


def with_penalty(b: Build, weight: Node, gradient: Node, penalty: Penalty) -> Node:
    """The gradient of the loss and of the penalty."""
    if penalty.l2:
        gradient = b.op("add", gradient, b.op("mul", number(b, penalty.l2), weight))
    if penalty.l1:
        gradient = b.op("add", gradient, b.op("mul", number(b, penalty.l1), b.op("sign", weight)))
    return gradient


def in_one_go(rule: OptimizerRule, clip_value: float | None) -> Optimizer | None:
    """What makes up for steps without going through them one by one; None where there is no such thing.

    A rule says so itself, by `under_l2`. Adam, RMSprop, Adagrad and FTRL divide by roots of what each
    weight has seen; l1 and cutting gradients off turn on signs and sizes.
    """
    optimizer = OPTIMIZERS[rule.name]
    if not rule.penalty:
        return optimizer
    if optimizer.under_l2 is None or rule.penalty.l1 or clip_value is not None:
        return None
    return optimizer.under_l2(rule.penalty.l2)
