"""Optimizers as graphs: from (weight, gradient, slots) to (weight, slots), element by element.

One graph an optimizer serves every weight, dense or by rows: all are one-dimensional here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import Model, OptimizerRule
from vflc.ir.types import Axis, TensorType
from vflc.ops import infer
from vflc.ops.optimizers import OPTIMIZERS

VECTOR = TensorType((Axis("element", None),))
SCALAR = TensorType(())


@dataclass(frozen=True, slots=True)
class UpdateGraph:
    """`graph` with its inputs, and outputs `new.weight` and `new.SLOT`."""

    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def update_graph(rule: OptimizerRule) -> str:
    """The name of an optimizer's graph."""
    return f"update_{rule.id}"


def slots_of(rule: OptimizerRule) -> dict[str, float]:
    """Slots and their initial values."""
    return OPTIMIZERS[rule.name].slots(rule.options)


def optimizers_at(model: Model, place: str) -> list[OptimizerRule]:
    """The optimizers that some weight of the place uses."""
    used = {update.optimizer for update in model.updates if update.place == place}
    return [rule for rule in model.train.optimizers if rule.id in used]


def build_update(rule: OptimizerRule, clip_value: float | None) -> UpdateGraph:
    """The update of one optimizer; gradients are clipped by value first where asked."""
    build = Build(Graph(), infer)

    def given(name: str, type_: TensorType) -> Node:
        return build.graph.add(Node(name, "feature", (), {}, type_))

    weight, gradient, step = given("weight", VECTOR), given("gradient", VECTOR), given("step", SCALAR)
    slots = {name: given(name, VECTOR) for name in slots_of(rule)}
    with build.within(scope=("update",)):
        if clip_value is not None:
            gradient = build.op("clip", gradient, low=-clip_value, high=clip_value)
        new_weight, new_slots = OPTIMIZERS[rule.name].update(
            build, weight, gradient, step, slots, rule.options
        )
        outputs = [_output(build, "new.weight", new_weight)]
        outputs += [_output(build, f"new.{name}", new_slots[name]) for name in slots]
    return UpdateGraph(build.graph, ("weight", "gradient", "step", *slots), tuple(outputs))


def _output(build: Build, name: str, value: Node) -> str:
    names = tuple(axis.name for axis in value.type.axes)
    return build.graph.add(
        replace(value, id=name, op="rename", inputs=(value.id,), attrs={"names": names})
    ).id
