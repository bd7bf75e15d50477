"""One axis more, batches, and tables that are read by id."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from vflc_common.numpy import np

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import infer
from vflc.ops.claims.case import Case, given, near, run
from vflc.ops.registry import OpError
from vflc.ops.users import EXAMPLE, rule_for


def axes(case: Case) -> bool:
    """For any inputs side by side, what has one more axis in front gives each one's own."""
    other = Case(case.op, case.sample, 99)
    if any(a.shape != b.shape for a, b in zip(case.arrays, other.arrays, strict=True)):
        other = case
    attrs = case.op.one_axis_on(case.attrs)
    arrays = [np.stack(pair) for pair in zip(case.arrays, other.arrays, strict=True)]
    types = [TensorType((Axis("more", 2), *type_.axes), type_.dtype) for type_ in case.types]
    both = case.op.reference(replace(case.node, attrs=attrs), arrays, types)
    return np.array_equal(both, np.stack([case.at(case.arrays), other.at(other.arrays)]))


class _Two(Struct):
    """Two users; the batch of the second is filled up to as many rows as the first one has."""

    build: Build
    case: Case
    given: list[Node]
    mask: Node

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        return self.build.op(op, *inputs, **attrs)

    def inputs(self, node: Node) -> tuple[Node, ...]:
        return tuple(self.case.inputs)

    def made(self, node: Node) -> Node:
        return self.given[[each.id for each in self.case.inputs].index(node.id)]

    def level(self, node: Node, rank: int) -> Node:
        value = self.made(node)
        for _ in range(rank - node.type.rank):
            value = self.build.op("unsqueeze", value, axis=1, name=None)
        return value

    def same_for_all(self, node: Node) -> bool:
        return False

    def constant(self, value: float) -> Node:
        return self.build.constant(value)

    def masked(self, value: Node) -> Node:
        mask = self.mask
        for _ in range(value.type.rank - 2):
            mask = self.build.op("unsqueeze", mask, axis=2, name=None)
        return self.build.op("mul", value, mask)

    def rows(self) -> Node:
        return self.build.op("sum", self.mask, axes=(1,), keep=False)


def users(case: Case) -> bool:
    """What the rule makes for two users is what each of them has by itself."""
    other = Case(case.op, case.sample, 99)
    if any(a.shape != b.shape for a, b in zip(case.arrays, other.arrays, strict=True)):
        other = case
    b = Build(Graph(), infer)
    two = _Two(b, case, [], given(b, "mask", TensorType((ROWS, EXAMPLE))))
    for i, type_ in enumerate(case.types):
        own = (EXAMPLE, *type_.axes[1:]) if type_.batched else type_.axes
        two.given.append(given(b, f"x{i}", TensorType((ROWS, *own), type_.dtype)))
    try:
        made = rule_for(case.op)(two, case.node)
    except OpError:
        return True  # it is refused
    rows = max((len(array) for array, t in zip(case.arrays, case.types, strict=True) if t.batched), default=1)
    fewer = rows // 2 + 1
    feeds = {x.id: np.stack([case.arrays[i], other.arrays[i]]) for i, x in enumerate(two.given)}
    mask = np.stack([np.ones(rows), np.arange(rows) < fewer])
    first, second = np.asarray(run(b.graph, feeds | {"mask": mask}, made), np.float64)
    alone = [x[:fewer] if t.batched else x for x, t in zip(other.arrays, case.types, strict=True)]
    second = second[:fewer] if case.node.type.batched else second
    return near(first, case.at(case.arrays)) and near(second, other.at(alone))


def summands(case: Case) -> bool:
    """Sums over rows, each times a factor, and at least the squared norm of each row's own."""
    assert case.op.summands is not None
    if not case.batched or case.node.type.batched or len({len(array) for array in case.arrays}) > 1:
        return True
    count = len(case.arrays[0])
    b, factors = case.build, np.random.default_rng(0).uniform(0.5, 2, (count, 1))
    factor = given(b, "factor", TensorType((ROWS, Axis(None, 1))))
    found = case.op.summands(b, case.node, case.inputs)
    feeds = {x.id: array for x, array in zip(case.inputs, case.arrays, strict=True)} | {factor.id: factors}
    own = [case.at([array[i : i + 1] for array in case.arrays]) for i in range(count)]
    total = sum(run(b.graph, feeds, part) for part in found.total(b, factor))
    square = run(b.graph, feeds, found.square(b)).reshape(-1)
    norms = np.asarray([(each**2).sum() for each in own])
    wanted = sum(each * by_own for each, by_own in zip(own, factors[:, 0], strict=True))
    if not (near(np.asarray(total), np.asarray(wanted)) and near(np.asarray(sum(own)), case.at(case.arrays))):
        return False
    return bool((square >= norms - 1e-9).all())


def by_id(case: Case) -> bool:
    if case.op.by_id == "distinct":
        ids = np.unique(np.concatenate([array.reshape(-1) for array in case.arrays]))
        return np.array_equal(case.at(case.arrays), ids[ids >= 0])
    if case.op.by_id == "sums":
        ids, values = case.arrays
        total = np.zeros_like(case.at(case.arrays))
        np.add.at(total, ids[ids >= 0], values[ids >= 0])
        return near(case.at(case.arrays), total)
    table, ids = case.arrays
    whole, rows = case.at(case.arrays), np.full_like(table[:2], 7.0)
    further = case.at([np.concatenate([rows, table]), np.where(ids < 0, ids, ids + 2).astype(ids.dtype)])
    alone = [case.at([table, each[None]])[0] for each in ids.reshape(-1)]
    return near(further, whole) and near(np.stack(alone).reshape(whole.shape), whole)


def zero_for_none(case: Case) -> bool:
    if not case.op.zero_for_none(case.attrs):
        return True
    last = len(case.arrays) - 1
    none = np.full_like(case.arrays[last], -1)
    return (
        case.op.reads_codes
        and case.types[last].dtype == "int"
        and not case.at(case.with_input(last, none)).any()
    )
