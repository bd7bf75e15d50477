"""Shares over the joined axis: the largest and the sum of all pieces go to each, and no piece leaves."""

from __future__ import annotations

from vflc.ir.graph import Node
from vflc.ops import OPS
from vflc.passes.push_down.forms import Pieces, Rewriting, added


def softmax(rewriting: Rewriting, node: Node) -> Pieces | None:
    """`softmax` and `log_softmax`, from each piece's largest number and its sum of exponentials.

    As usual, the largest number is taken off first, and no gradient flows through it.
    """
    pieces, axis = rewriting.pieces(node.inputs[0]), node.attrs["axis"]
    if pieces is None or pieces.axis != axis:
        return None
    op = rewriting.build.op
    over = {"axes": (axis,), "keep": True}
    tops = [rewriting.at_owner(p.owner, "max", p.node, **over) for p in pieces.pieces]
    top = tops[0]
    for other in tops[1:]:
        top = op("maximum", top, other)
    top = op("stop_gradient", top)
    less = [rewriting.at_owner(p.owner, "sub", p.node, top) for p in pieces.pieces]
    powers = [rewriting.at_owner(p.owner, "exp", each) for p, each in zip(pieces.pieces, less, strict=True)]
    sums = [rewriting.at_owner(p.owner, "sum", e, **over) for p, e in zip(pieces.pieces, powers, strict=True)]
    total = added(rewriting.build, sums)
    if OPS[node.op].parts.shares == "logs":
        op_name, shares, total = "sub", less, op("log", total)
    else:
        op_name, shares = "div", powers
    made = [
        rewriting.at_owner(p.owner, op_name, share, total)
        for p, share in zip(pieces.pieces, shares, strict=True)
    ]
    return pieces.mapped(axis, made)
