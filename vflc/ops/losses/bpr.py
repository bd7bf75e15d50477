"""Bayesian personalised ranking: what was chosen scores above what was not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vflc.ops.align import align, numeric
from vflc.ops.loss import LossRule, loss, mean
from vflc.ops.registry import OpError

if TYPE_CHECKING:
    from vflc.ir.build import Build
    from vflc.ir.graph import Node


def bpr(b: Build, positive: Node, negative: Node, weight: Node | None = None) -> Node:
    """-log sigmoid(`positive` - `negative`) of the scores of what was chosen and of what was not.

    A row has one positive score and one negative score or several, [n]; mean over the batch (Rendle et al.,
    "BPR: Bayesian personalized ranking from implicit feedback", 2009).
    """
    p, n = numeric(b, positive), numeric(b, negative)
    if p.type.row_size != 1:
        raise OpError(f"bpr of positive scores {p.type}", "give it one positive score for each row")
    terms = b.op("softplus", b.op("sub", *reversed(align(b, p, n))))
    return mean(b, "bpr", terms, weight, positive, None)


loss(bpr, LossRule("bpr", tells="it tells how a row's positive and negative compare"))
