"""Graphs that run one after another become one: on a device, calls are what a small batch costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vflc_runtime.bundle.plan import Plan, Step
from vflc_runtime.engines.device_forms import for_device
from vflc_runtime.engines.onnx_session import read_model

if TYPE_CHECKING:
    import onnx


def runs(steps: Sequence[Step], own: set[str]) -> Iterator[tuple[str, ...]]:
    """The graphs among `own` that a program runs without a break between them, in order.

    Rows that catch up are no break: on a device, none of them are late.
    """
    found: list[str] = []
    for step in steps:
        if step.do == "catch_up":
            continue
        if step.do == "run" and step.target in own:
            found.append(step.target)
        elif found:
            yield tuple(found)
            found = []
    if found:
        yield tuple(found)


def merged(plan: Plan, graphs: Sequence[str]) -> onnx.ModelProto:
    """One graph with all outputs of graphs, and the inputs that none of them gives."""
    first = read_model(plan, graphs[0])
    made = {each.name for each in first.graph.output}
    read = {each.name for each in first.graph.input}
    for name in graphs[1:]:
        graph = read_model(plan, name).graph
        shown = {each.name for each in (*graph.input, *graph.output)}
        _rename(graph, f"{name}/", shown)
        first.graph.node.extend(graph.node)
        first.graph.initializer.extend(graph.initializer)
        for each in graph.input:
            if each.name not in made and each.name not in read:
                first.graph.input.append(each)
                read.add(each.name)
        first.graph.output.extend(each for each in graph.output if each.name not in made)
        made.update(each.name for each in graph.output)
    for_device(first.graph, plan.precision == "float64")
    return first


def _rename(graph: onnx.GraphProto, prefix: str, shown: set[str]) -> None:
    """Puts a prefix before all names of a graph and of the graphs in it, but for those that are shown."""
    for node in graph.node:
        node.name = prefix + node.name if node.name else ""
        for names in (node.input, node.output):
            names[:] = [name if name in shown or not name else prefix + name for name in names]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _rename(inner, prefix, shown)
                for each in (*inner.input, *inner.output):
                    each.name = each.name if each.name in shown else prefix + each.name
    for tensor in graph.initializer:
        tensor.name = tensor.name if tensor.name in shown else prefix + tensor.name
    del graph.value_info[:]
