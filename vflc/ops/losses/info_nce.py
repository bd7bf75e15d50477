"""InfoNCE: a row's own positive is told apart from negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.align import align, numeric
from vflc.ops.loss import LossRule, loss, mean
from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def info_nce(
    b: Build,
    anchor: Node,
    positive: Node,
    negatives: Node | None = None,
    temperature: float = 1.0,
    weight: Node | None = None,
) -> Node:
    """-log of the share of exp(anchor·positive / `temperature`) among it and those of the negatives.

    Vectors are [d]; `negatives` are [n, d] or [d], as of a tower over another column or of `sampled(v, 4)`.
    Without them, the positives of all other rows of the batch are the negatives. Mean over the batch (van den
    Oord et al., "Representation learning with contrastive predictive coding", 2018).
    """
    if temperature <= 0:
        raise OpError(f"info_nce with temperature = {temperature:g}", "it must be above 0", "VFL0205")
    u, v = numeric(b, anchor), numeric(b, positive)
    if len(u.type.row_axes) != 1 or u.type.sizes != v.type.sizes:
        raise OpError(f"info_nce of {u.type} and {v.type}", "give both one axis of the same size")
    u = b.op("mul", u, number(b, 1 / temperature))
    own = _product(b, u, v)
    if negatives is None:
        scores = b.op("pairs", u, v)
    else:
        others = _product(b, u, numeric(b, negatives))
        others = b.op("rename", others, names=(others.type.axes[0].name, None))
        scores = b.op("concat", own, others, axis=1)
    terms = b.op("sub", _log_sum(b, scores), own)
    return mean(b, "info_nce", terms, weight, anchor, None)


def _product(b: Build, x: Node, y: Node) -> Node:
    """Inner products along the last axis, [1] or [n]."""
    product = b.op("mul", *align(b, x, y))
    return b.op("sum", product, axes=(product.type.rank - 1,), keep=product.type.rank == 2)


def _log_sum(b: Build, scores: Node) -> Node:
    """log Σ exp of the scores [n], from those less their largest: [1]."""
    top = b.op("stop_gradient", b.op("max", scores, axes=(1,), keep=True))
    shares = b.op("exp", b.op("sub", scores, top))
    return b.op("add", top, b.op("log", b.op("sum", shares, axes=(1,), keep=True)))


loss(
    info_nce,
    LossRule("info_nce", tells="it tells how a row's positive compares with its negatives"),
)
