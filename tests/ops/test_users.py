"""Ops for many users at once are what they are for each user alone, whatever fills the batches up."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from op_testing import evaluate

from vflc.ir.build import Build, Initializer
from vflc.ir.graph import Graph, Node
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import OpError, infer
from vflc.passes.population.vectorise import _Lift

EXAMPLES = (4, 1, 0, 2)
"""Of each user; all are filled up to the most."""


class One:
    """A graph of one user: x of 3 numbers a row, g of 2 by 3, a number z, weights of the user's own."""

    def __init__(self) -> None:
        self.b = Build(Graph(), infer)
        self.given: dict[str, tuple[int, ...]] = {"x": (3,), "g": (2, 3), "z": ()}
        for name, sizes in self.given.items():
            type = TensorType((ROWS, *(Axis(None, size) for size in sizes)))
            self.b.graph.add(Node(name, "feature", (), {"name": name}, type))
        for name, sizes in (("w", (3,)), ("k", (3, 2)), ("c", (2,))):
            self.b.weight(name, [Axis(None, size) for size in sizes], Initializer("zeros"))

    def __getattr__(self, name: str) -> Node:
        return self.b.graph[name]

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.b.op(op, *inputs, **attrs)

    def lifted(self, node: Node) -> tuple[_Lift, Node]:
        model: Any = SimpleNamespace(graph=self.b.graph, population=SimpleNamespace(place="users"))
        lift = _Lift(model, Build(Graph(), infer, place="users"))
        for each in self.b.graph:
            lift.visit(each)
        return lift, lift._made[node.id]

    def check(self, node: Node) -> None:
        """Compares what many users have with what each has alone."""
        draw, most = np.random.default_rng(0), max(EXAMPLES)
        values = {name: draw.normal(size=(len(EXAMPLES), most, *sizes)) for name, sizes in self.given.items()}
        weights = {n: draw.normal(size=(len(EXAMPLES), *self.b.graph[n].type.sizes)) for n in "wkc"}
        lift, made = self.lifted(node)
        mask = np.arange(most) < np.array(EXAMPLES)[:, None]
        inputs = values | weights | ({lift.mask: mask.astype(float)} if lift.mask else {})
        (found,) = evaluate(lift.build.graph, inputs, [made.id])
        for user, count in enumerate(EXAMPLES):
            own = {n: v[user, :count] for n, v in values.items()} | {n: w[user] for n, w in weights.items()}
            if count or node.type.batched:
                (alone,) = evaluate(self.b.graph, own, [node.id])
                together = found[user, :count] if node.type.batched else found[user]
                np.testing.assert_allclose(together, alone, atol=1e-12)


Make = Callable[[One], Node]


@pytest.mark.parametrize(
    "make",
    [
        lambda g: g.op("add", g.x, g.w),
        lambda g: g.op("mul", g.g, g.w),
        lambda g: g.op("sub", g.w, g.b.constant(1.0)),
        lambda g: g.op("relu", g.x),
        lambda g: g.op("sum", g.x, axes=(1,), keep=True),
        lambda g: g.op("sum", g.x, axes=(0,), keep=False),
        lambda g: g.op("sum", g.z, axes=(0,), keep=False),
        lambda g: g.op("sum", g.g, axes=(0, 2), keep=False),
        lambda g: g.op("sum", g.w, axes=(0,), keep=True),
        lambda g: g.op("mean", g.x, axes=(1,), keep=False),
        lambda g: g.op("mean", g.w, axes=(0,), keep=False),
        lambda g: g.op("mean", g.x, axes=(0,), keep=False),
        lambda g: g.op("mean", g.x, axes=(0, 1), keep=False),
        lambda g: g.op("mean", g.g, axes=(0, 1), keep=False),
        lambda g: g.op("mean", g.g, axes=(0,), keep=False),
        lambda g: g.op("max", g.g, axes=(1,), keep=False),
        lambda g: g.op("max", g.k, axes=(0,), keep=False),
        lambda g: g.op("linear", g.x, g.k),
        lambda g: g.op("linear", g.x, g.k, g.c),
        lambda g: g.op("linear", g.g, g.k, g.c),
        lambda g: g.op("transpose", g.g, perm=(0, 2, 1)),
        lambda g: g.op("concat", g.x, g.op("neg", g.x), axis=1),
        lambda g: g.op("slice", g.g, axis=2, start=1, stop=3),
        lambda g: g.op("rename", g.g, names=("batch", "a", "b")),
        lambda g: g.op("rename", g.k, names=("a", "b")),
        lambda g: g.op("reshape", g.g, sizes=(6,), names=("a",)),
        lambda g: g.op("unsqueeze", g.x, axis=1, name=None),
        lambda g: g.op("softmax", g.g, axis=2),
        lambda g: g.op("reshape", g.k, sizes=(2, 3), names=("a", None)),
        lambda g: g.op("matmul", g.x, g.k, transpose_x=False, transpose_y=False),
        lambda g: g.op("matmul", g.g, g.k, transpose_x=False, transpose_y=False),
        lambda g: g.op("matmul", g.g, g.g, transpose_x=False, transpose_y=True),
        lambda g: g.op("expand_like", g.op("unsqueeze", g.x, axis=1, name=None), g.g),
        lambda g: g.op("expand_like", g.w, g.g),
        lambda g: g.op("cce_terms", g.x, g.op("exp", g.x)),
        lambda g: g.op("one_hot", g.op("cast", g.op("floor", g.z), dtype="int"), depth=3),
        lambda g: g.op("mean", g.g, axes=(0, 2), keep=True),
        lambda g: g.op("mean", g.g, axes=(1,), keep=True),
        lambda g: g.op("mean", g.z, axes=(0,), keep=False),
        lambda g: g.op("stack", g.x, g.op("exp", g.x), axis=1, name="two"),
        lambda g: g.op("clip", g.g, low=-0.5, high=0.5),
        lambda g: g.op("squeeze", g.op("sum", g.g, axes=(1,), keep=True), axis=1),
    ],
)
def test_an_op_of_many_users_is_that_of_each(make: Make) -> None:
    one = One()
    one.check(make(one))


@pytest.mark.parametrize(
    "make",
    [
        lambda g: g.op("max", g.x, axes=(0,), keep=False),
        lambda g: g.op("max", g.x, axes=(0, 1), keep=False),
    ],
)
def test_what_would_meet_what_fills_a_batch_up_is_refused(make: Make) -> None:
    one = One()
    node = make(one)
    with pytest.raises(OpError, match="largest value of a batch"):
        one.lifted(node)


def test_what_has_no_rule_for_many_users_is_refused() -> None:
    one = One()
    node = one.op("concat", one.w, one.b.constant((1.0, 2.0)), axis=0)
    with pytest.raises(OpError, match="`concat` of a constant and a value of a user") as refused:
        one.lifted(node)
    assert refused.value.help == "add the constant instead"
    one = One()
    one.b.graph.add(Node("open", "feature", (), {}, TensorType((ROWS, Axis(None, None)))))
    node = one.op("mean", one.open, axes=(0, 1), keep=False)
    with pytest.raises(OpError, match="a mean over an axis of unknown size and the batch"):
        one.lifted(node)


def test_a_batch_of_nobody_has_a_mean_of_zero() -> None:
    one = One()
    lift, made = one.lifted(one.op("mean", one.x, axes=(0,), keep=False))
    given = {"x": np.ones((2, 3, 3)), lift.mask: np.array([[1.0, 0, 0], [0, 0, 0]])}
    (found,) = evaluate(lift.build.graph, given, [made.id])
    assert found.tolist() == [[1, 1, 1], [0, 0, 0]]
