"""How ops run for many at once: every value has a leading axis, of users, who fill a batch up, or of rows.

An op that is not elementwise, and does more than count axes, names one of these in its record.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from vflc.ir.types import BATCH, Axis
from vflc.ops.registry import OPS, Op, OpError, UserAxis, UsersRule

if TYPE_CHECKING:
    from vflc.ir.graph import Node


EXAMPLE = Axis("examples of a user", None)
"""The batch of one user; a name that no axis of a spec can have."""


def _like(users: UserAxis, node: Node, *inputs: Node, **attrs: Any) -> Node:
    return users.op(node.op, *inputs, **{**node.attrs, **attrs})


def rule_for(op: Op) -> UsersRule:
    """How an op runs for many at once.

    Raises:
        OpError: nothing says how.
    """
    rule = op.users or (levelled if op.elementwise else moved if op.axes or op.leading else None)
    if rule is None:
        raise OpError(f"`{op.name}` is not supported in this version")
    return rule


def levelled(users: UserAxis, node: Node) -> Node:
    """The same op of inputs of one rank."""
    inputs = users.inputs(node)
    rank = max(source.type.rank for source in inputs)
    return _like(users, node, *(users.level(source, rank) for source in inputs))


def moved(users: UserAxis, node: Node) -> Node:
    """The same op along the axes that are one further on."""
    inputs = users.inputs(node)
    if any(users.same_for_all(source) for source in inputs):
        raise OpError(f"`{node.op}` of a constant and a value of a user", "add the constant instead")
    return _like(users, node, *map(users.made, inputs), **OPS[node.op].one_axis_on(node.attrs))


def alike(users: UserAxis, node: Node) -> Node:
    """The same op: it takes whatever axes come first as they are."""
    return _like(users, node, *map(users.made, users.inputs(node)))


def no_batch(users: UserAxis, node: Node) -> Node:
    """A reduction that must not meet the batch, which is filled up."""
    (x,) = users.inputs(node)
    if x.type.batched and 0 in node.attrs["axes"]:
        raise OpError("the largest value of a batch")
    return moved(users, node)


def summed(users: UserAxis, node: Node) -> Node:
    """A sum, over the batch without what fills it up."""
    (x,) = users.inputs(node)
    value = users.made(x)
    if x.type.batched and 0 in node.attrs["axes"]:
        value = users.masked(value)
    return _like(users, node, value, **OPS[node.op].one_axis_on(node.attrs))


def meant(users: UserAxis, node: Node) -> Node:
    """A mean, over the batch of what each user has of it."""
    (x,) = users.inputs(node)
    axes = OPS[node.op].one_axis_on(node.attrs)["axes"]
    if not (x.type.batched and 0 in node.attrs["axes"]):
        return _like(users, node, users.made(x), axes=axes)
    total = users.op("sum", users.masked(users.made(x)), axes=axes, keep=node.attrs["keep"])
    others = prod(x.type.axes[axis].size or 0 for axis in node.attrs["axes"] if axis)
    if not others:
        raise OpError("a mean over an axis of unknown size and the batch")
    rows = users.rows()
    for _ in range(total.type.rank - 1):
        rows = users.op("unsqueeze", rows, axis=1, name=None)
    if others > 1:
        rows = users.op("mul", rows, users.constant(float(others)))
    return users.op("div", total, rows)


def multiplied(users: UserAxis, node: Node) -> Node:
    """A linear layer, whose kernel each user may have of its own, as a product of matrices."""
    x, kernel, *bias = users.inputs(node)
    rank = x.type.rank
    product = users.op(
        "matmul", users.level(x, rank), users.level(kernel, rank), transpose_x=False, transpose_y=False
    )
    return users.op("add", product, users.level(bias[0], rank)) if bias else product


def contracted(users: UserAxis, node: Node) -> Node:
    """Sums of outer products, each one's own."""
    x, y = users.inputs(node)
    if x.type.rank != 2 or x.type.batched:
        raise OpError(f"`{node.op}` of values with a batch")
    return users.op("matmul", users.level(x, 2), users.level(y, 2), transpose_x=True, transpose_y=False)


def renamed(users: UserAxis, node: Node) -> Node:
    """Other names of the axes, of which the first is that of users."""
    names = [EXAMPLE.name if name == BATCH else name for name in node.attrs["names"]]
    return _like(users, node, *map(users.made, users.inputs(node)), names=(BATCH, *names))


def reshaped(users: UserAxis, node: Node) -> Node:
    """Other axes of a row: the examples of a user are one of them."""
    sizes, names = tuple(node.attrs["sizes"]), tuple(node.attrs["names"])
    if node.type.batched:
        sizes, names = (None, *sizes), (EXAMPLE.name, *names)
    return _like(users, node, *map(users.made, users.inputs(node)), sizes=sizes, names=names)
