"""Optimizers as graphs: from (weight, gradient, slots) to (weight, slots), element by element.

An optimizer has one graph for all dense weights, which lie in flat buffers, and where a step
without a gradient changes what it keeps (momentum, running means) another for rows of tables:
it makes up for the steps since the row was last touched, of which it keeps the number in `last`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Model, OptimizerRule
from vflc.ir.types import Axis, TensorType
from vflc.ops import infer
from vflc.ops.optimizers import OPTIMIZERS

SCALAR = TensorType(())
VECTOR = TensorType((Axis("element", None),))
ROWS = TensorType((Axis("row", None), Axis("width", None)))
ONE_A_ROW = TensorType((Axis("row", None), Axis(None, 1)))
LAST = "last"
"""The slot of a row that holds the step it was last touched in; 0 for never."""


@dataclass(frozen=True, slots=True)
class UpdateGraph:
    """`graph` with its inputs, and outputs `new.weight` and `new.SLOT`."""

    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def update_graph(rule: OptimizerRule, rows: bool = False) -> str:
    """The name of an optimizer's graph, for dense weights or for rows of tables."""
    return f"update_{rule.id}_rows" if rows and makes_up(rule) else f"update_{rule.id}"


def slots_of(rule: OptimizerRule) -> dict[str, float]:
    """Slots and their initial values."""
    return OPTIMIZERS[rule.name].slots(rule.options)


def makes_up(rule: OptimizerRule) -> bool:
    """Whether rows of tables need a graph of their own."""
    return OPTIMIZERS[rule.name].decays(rule.options)


def optimizers_at(model: Model, place: str) -> list[OptimizerRule]:
    """The optimizers that some weight of the place uses."""
    used = {update.optimizer for update in model.updates if update.place == place}
    return [rule for rule in model.train.optimizers if rule.id in used]


def build_updates(rule: OptimizerRule, clip_value: float | None) -> dict[str, UpdateGraph]:
    """The graphs of an optimizer by name; gradients are clipped by value first where asked."""
    graphs = {update_graph(rule): _dense(rule, clip_value)}
    if makes_up(rule):
        graphs[update_graph(rule, rows=True)] = _rows(rule, clip_value)
    return graphs


def _dense(rule: OptimizerRule, clip_value: float | None) -> UpdateGraph:
    build = Build(Graph(), infer)
    weight, gradient = (_given(build, name, VECTOR) for name in ("weight", "gradient"))
    step = _given(build, "step", SCALAR)
    slots = {name: _given(build, name, VECTOR) for name in slots_of(rule)}
    with build.within(scope=("update",)):
        gradient = _clipped(build, gradient, clip_value)
        made = OPTIMIZERS[rule.name].update(build, weight, gradient, step, slots, rule.options)
    return _finish(build, ("weight", "gradient", "step", *slots), *made)


def _rows(rule: OptimizerRule, clip_value: float | None) -> UpdateGraph:
    """First the steps that passed the row by, then the one that touches it."""
    build = Build(Graph(), infer)
    weight, gradient = (_given(build, name, ROWS) for name in ("weight", "gradient"))
    step = _given(build, "step", SCALAR)
    slots = {name: _given(build, name, ROWS) for name in slots_of(rule)}
    last = _given(build, LAST, ONE_A_ROW)
    optimizer = OPTIMIZERS[rule.name]
    with build.within(scope=("update",)):
        gradient = _clipped(build, gradient, clip_value)
        row = build.op("squeeze", last, axis=1)
        passed = build.op("sub", build.op("sub", step, build.constant(1.0)), row)
        weight, slots = optimizer.idle(build, weight, passed, step, slots, rule.options)
        new, slots = optimizer.update(build, weight, gradient, step, slots, rule.options)
        now = build.op("add", build.op("mul", row, build.constant(0.0)), step)
        touched = build.op("unsqueeze", now, axis=1, name=None)
    return _finish(build, ("weight", "gradient", "step", *slots, LAST), new, {**slots, LAST: touched})


def _given(build: Build, name: str, type_: TensorType) -> Node:
    return build.graph.add(Node(name, "feature", (), {}, type_))


def _clipped(build: Build, gradient: Node, limit: float | None) -> Node:
    return gradient if limit is None else build.op("clip", gradient, low=-limit, high=limit)


def _finish(build: Build, inputs: Sequence[str], weight: Node, slots: dict[str, Node]) -> UpdateGraph:
    made = {"weight": weight, **{name: slots[name] for name in inputs if name in slots}}
    outputs = tuple(_output(build, f"new.{name}", value) for name, value in made.items())
    return UpdateGraph(build.graph, tuple(inputs), outputs)


def _output(build: Build, name: str, value: Node) -> str:
    names = tuple(axis.name for axis in value.type.axes)
    return build.graph.add(
        replace(value, id=name, op="rename", inputs=(value.id,), attrs={"names": names})
    ).id
