"""The triplet loss: an anchor lies nearer to its positive than to its negative."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.align import align, numeric
from vflc.ops.loss import LossRule, loss, mean
from vflc.ops.registry import OpError
from vflc.ops.rules import number

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def triplet(
    b: Build,
    anchor: Node,
    positive: Node,
    negative: Node,
    margin: float = 1.0,
    weight: Node | None = None,
) -> Node:
    """max(0, |anchor - positive|² - |anchor - negative|² + `margin`) of vectors [d]; mean over the batch.

    Of several negatives [n, d], each counts (Schroff et al., "FaceNet", 2015).
    """
    if margin <= 0:
        raise OpError(f"triplet with margin = {margin:g}", "margin must be above 0", "VFL0205")
    a, p, n = numeric(b, anchor), numeric(b, positive), numeric(b, negative)
    if len(a.type.row_axes) != 1 or a.type.row_axes[-1].size != p.type.row_axes[-1].size:
        raise OpError(f"triplet of {a.type}, {p.type} and {n.type}", "give it vectors of one size")
    near, far = _squares(b, a, p), _squares(b, a, n)
    terms = b.op("relu", b.op("add", b.op("sub", *align(b, near, far)), number(b, margin)))
    return mean(b, "triplet", terms, weight, anchor, None)


def _squares(b: Build, x: Node, y: Node) -> Node:
    """Squared distances along the last axis, [1] or [n]."""
    apart = b.op("square", b.op("sub", *align(b, x, y)))
    return b.op("sum", apart, axes=(apart.type.rank - 1,), keep=apart.type.rank == 2)


loss(triplet, LossRule("triplet", tells="it tells how a row's positive and negative compare"))
