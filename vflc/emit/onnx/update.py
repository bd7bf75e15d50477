"""Optimizers as graphs: from (weight, gradient, slots) to (weight, slots), element by element.

An optimizer has one graph for dense weights, which lie in flat buffers, and for rows of tables alike.
Where a step without a gradient changes weights or what is kept for them, it has another that makes
up for the steps that a row missed, and maybe one of the series that this depends on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.model import OptimizerRule
from vflc.ir.stages import Scheduled
from vflc.ir.types import Axis, TensorType
from vflc.ops import infer
from vflc.ops.missed import SeriesRule
from vflc.ops.optimizer import Optimizer
from vflc.ops.optimizers import OPTIMIZERS
from vflc.ops.penalised import in_one_go, makes_up, with_penalty
from vflc.ops.rates import rate

SCALAR = TensorType(())
VECTOR = TensorType((Axis("element", None),))
ROWS = TensorType((Axis("row", None), Axis("width", None)))
ONE_A_ROW = TensorType((Axis("row", None), Axis(None, 1)))


class UpdateGraph(Struct, frozen=True):
    """`graph` with its inputs and outputs; `double` where it is in float64 whatever the weights are.

    An update, and what catches up, takes `weight` and slots and gives `new.weight` and `new.SLOT`.
    """

    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    double: bool = False


def update_graph(rule: OptimizerRule) -> str:
    """The name of an optimizer's graph."""
    return f"update_{rule.id}"


def slots_of(rule: OptimizerRule) -> dict[str, float]:
    """Slots and their initial values."""
    with OPTIMIZERS.using(rule.name) as optimizer:
        return optimizer.slots(rule.options)


def catch_up(rule: OptimizerRule, clip_value: float | None) -> dict[str, Any] | None:
    """How rows catch up, as in plan.json; None where there is nothing to make up for."""
    if not makes_up(rule):
        return None
    with OPTIMIZERS.using(rule.name):
        optimizer = in_one_go(rule, clip_value)
        if optimizer is None:
            return {"replay": True}
        return {
            "graph": f"catch_up_{rule.id}",
            "series": f"series_{rule.id}" if optimizer.series(rule.options) else None,
            "missed": [
                {"name": name, "kind": type(each).__name__.lower(), **asdict(each)}
                for name, each in optimizer.missed(rule.options).items()
            ],
        }


def optimizers_at(model: Scheduled, place: str) -> list[OptimizerRule]:
    """The optimizers that some weight of the place uses."""
    used = {update.optimizer for update in model.updates if update.place == place}
    return [rule for rule in model.train.optimizers if rule.id in used]


def build_updates(rule: OptimizerRule, clip_value: float | None) -> dict[str, UpdateGraph]:
    """The graphs of an optimizer by name; gradients are clipped by value first where asked."""
    with OPTIMIZERS.using(rule.name) as own:
        graphs = {update_graph(rule): _update(rule, own, clip_value)}
        optimizer, more = in_one_go(rule, clip_value), catch_up(rule, clip_value)
        if optimizer is not None and more is not None:
            graphs[more["graph"]] = _catch_up(rule, optimizer)
            if more["series"] is not None:
                graphs[more["series"]] = _series_graph(optimizer.series(rule.options))
        return graphs


def _update(rule: OptimizerRule, optimizer: Optimizer, clip_value: float | None) -> UpdateGraph:
    build = Build(Graph(), infer)
    weight, gradient = (_given(build, name, VECTOR) for name in ("weight", "gradient"))
    step = _given(build, "step", SCALAR)
    slots = {name: _given(build, name, VECTOR) for name in slots_of(rule)}
    with build.within(scope=("update",)):
        gradient = _clipped(build, with_penalty(build, weight, gradient, rule.penalty), clip_value)
        made = optimizer.update(build, weight, gradient, step, slots, rule.options)
    return _finish(build, ("weight", "gradient", "step", *slots), *made)


def _catch_up(rule: OptimizerRule, optimizer: Optimizer) -> UpdateGraph:
    """From rows of a table as they were last updated to the rows as they are now."""
    build = Build(Graph(), infer)
    weight = _given(build, "weight", ROWS)
    slots = {name: _given(build, name, ROWS) for name in slots_of(rule)}
    missed = {name: _given(build, f"missed.{name}", ONE_A_ROW) for name in optimizer.missed(rule.options)}
    with build.within(scope=("catch_up",)):
        made = optimizer.catch_up(build, weight, slots, missed, rule.options)
    return _finish(build, ("weight", *slots, *(f"missed.{name}" for name in missed)), *made)


def _series_graph(series: Mapping[str, SeriesRule]) -> UpdateGraph:
    """From the numbers of steps, counted from 1, to what each of them does to all rows alike."""
    build = Build(Graph(), infer)
    step = _given(build, "step", VECTOR)
    outputs = []
    for name, make in series.items():
        with build.within(scope=(name,)):
            made = make(build, step)
            if not made.type.axes:  # the same in every step
                made = build.op("add", build.op("mul", step, build.constant(0.0)), made)
            outputs.append(_output(build, name, made))
    return UpdateGraph(build.graph, ("step",), tuple(outputs), double=True)


def rates(lr: Any, steps: int) -> list[float]:
    """The learning rate, a number or a schedule, of the first so many steps, in float64."""
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator

    from vflc.emit.onnx.subgraph import to_onnx

    made = _series_graph({"lr": lambda b, step: rate(b, step, lr)})
    nodes = [n.id for n in made.graph if n.id not in made.inputs and n.op != "constant"]
    content = to_onnx(made.graph, "rates", nodes, made.inputs, made.outputs, "float64")
    evaluator = ReferenceEvaluator(onnx.load_from_string(content))
    (found,) = evaluator.run(None, {"step": np.arange(1.0, steps + 1)})
    return [float(number) for number in found]


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
