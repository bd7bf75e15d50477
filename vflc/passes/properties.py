"""What passes require of a model and ensure: each is looked at by code that no pass shares.

A property gives one line for each place where a model does not have it; none where it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from vflc_common.words import Program

from vflc.ir.graph import PLACELESS, STEPS, Graph
from vflc.ir.model import UNSPLIT, PlaceSchedule, Stage
from vflc.ir.outside import OP, graph_name
from vflc.ir.stages import (
    ByMode,
    Differentiated,
    Lowered,
    Optimized,
    Partitioned,
    Placed,
    Scheduled,
    Vectorised,
)
from vflc.ir.types import TensorType
from vflc.ops import OpError, infer
from vflc.ops.source import COLUMNS, INPUTS


class Property(Struct, frozen=True):
    """What holds of a model: its name, and where it does not."""

    name: str
    breaches: Callable[[Any], Iterator[str]]


def _graphs(model: Lowered) -> list[Graph]:
    found = [model.graph]
    if isinstance(model, ByMode):
        found.append(model.inference)
    if isinstance(model, Vectorised):
        found += [model.client.forward, *model.client.graphs.values()]
    return found


def _disordered(model: Lowered) -> Iterator[str]:
    for graph in _graphs(model):
        seen: set[str] = set()
        for name, node in graph.nodes.items():
            if node.id != name:
                yield f"`{node.id}` stands under the id `{name}`"
            yield from (f"`{name}` comes before its input `{i}`" for i in node.inputs if i not in seen)
            seen.add(name)


def _mistyped(model: Lowered) -> Iterator[str]:
    """By sizes: names of axes have done their work when a spec is read, and passes need not keep them."""
    for graph in _graphs(model):
        for node in graph:
            if node.op in INPUTS or node.op in STEPS:
                continue
            try:
                found = infer(node.op, [source.type for source in graph.inputs(node)], node.attrs)
            except OpError as refused:
                yield f"`{node.id}`: {refused.message}"
                continue
            if _shape(found) != _shape(node.type):
                yield f"`{node.id}` is {node.type}, and its op gives {found}"


def _shape(type_: TensorType) -> tuple[object, ...]:
    return type_.sizes, type_.dtype, type_.batched


def _needless(model: Lowered) -> Iterator[str]:
    roots = [loss.node for loss in model.losses]
    roots += [name for p in model.predictions for name in (p.node, *p.measured)]
    roots += [name for pair in model.assigns for name in pair]
    roots += [name for fit in model.fits for name in (fit.weight, fit.counts)]
    needed = model.graph.ancestors(roots)
    yield from (f"nothing needs `{node.id}`" for node in model.graph if node.id not in needed)


def _placeless(model: Placed) -> Iterator[str]:
    for graph in (model.graph, model.inference) if isinstance(model, ByMode) else (model.graph,):
        for node in graph:
            if node.op in PLACELESS:
                continue
            if node.place not in model.places:
                yield f"`{node.id}` is at {node.place}, which is no place of the model"
            elif UNSPLIT not in model.places and node.op in COLUMNS and node.attrs["party"] != node.place:
                yield f"`{node.id}`, of {node.attrs['party']}, is at {node.place}"


def _two_modes(model: ByMode) -> Iterator[str]:
    for graph in (model.graph, model.inference):
        yield from (f"`{n.id}` depends on the mode" for n in graph if n.op == "when_training")


def _without_gradient(model: Differentiated) -> Iterator[str]:
    graph, found = model.graph, Counter(gradient.weight for gradient in model.gradients)
    yield from (f"`{weight}` has {count} gradients" for weight, count in found.items() if count > 1)
    for gradient in model.gradients:
        type_ = graph[gradient.weight].type
        if gradient.dense is not None and graph[gradient.dense].type.sizes != type_.sizes:
            yield f"the gradient of `{gradient.weight}`, {type_}, is {graph[gradient.dense].type}"
        for ids, rows in gradient.rows:
            if graph[rows].type.sizes != (*graph[ids].type.sizes, *type_.sizes[1:]):
                yield f"`{rows}` are no rows of `{gradient.weight}` for the ids `{ids}`"


def _not_updated(model: Optimized) -> Iterator[str]:
    graph, learning = model.graph, Counter(gradient.weight for gradient in model.gradients)
    updated = Counter(name for update in model.updates for name in update.arrays)
    for name in sorted(learning.keys() | updated.keys()):
        if learning[name] != updated[name]:
            yield f"`{name}` has {learning[name]} gradients and {updated[name]} updates"
    for update in model.updates:
        yield from (
            f"`{name}` is updated at {update.place}"
            for name in update.arrays
            if graph[name].place != update.place
        )
        size = sum(graph[name].type.row_size or 0 for name in update.arrays)
        if update.gradient is not None and graph[update.gradient].type.row_size != size:
            yield f"`{update.gradient}` has another size than what it updates"


def _uncut(model: Partitioned) -> Iterator[str]:
    nodes = {edge.id: edge for edge in model.edges}
    for program in model.programs:
        carried = Counter(e for m in model.messages if program in m.programs for e in m.edges)
        declared = {edge.id for edge in model.edges if program in edge.programs}
        for name in sorted(declared | carried.keys()):
            if carried[name] != (name in declared):
                yield f"`{name}` travels {carried[name]} times in `{program}`"
        crossing = {(nodes[name].node, nodes[name].target) for name in declared}
        for reader, read, place in _read_elsewhere(model, program):
            if (read, place) not in crossing:
                yield f"`{reader}` at {place} reads `{read}`, which does not cross in `{program}`"


def _read_elsewhere(model: Partitioned, program: Program) -> Iterator[tuple[str, str, str]]:
    """What is read at another place than where it is made: who reads it, what, and where."""
    graph = model.graph_of(program)
    needed = graph.ancestors(model.roots(program))
    for node in graph:
        for source in graph.inputs(node) if node.id in needed else ():
            if source.op not in PLACELESS and node.op not in PLACELESS and source.place != node.place:
                yield node.id, source.id, str(node.place)


def _unready(model: Scheduled) -> Iterator[str]:
    """Steps that lack what they read, and messages and results that no step sends, receives or makes."""
    for program in model.programs:
        made: set[str] = set()
        for schedule in model.schedules:
            yield from _Replay(model, schedule, program).breaches(made)
        for message in model.messages:
            if program in message.programs:
                ends = [
                    (schedule.place, step.do)
                    for schedule in model.schedules
                    for step in schedule.programs[program]
                    if step.what == message.id and step.do in ("send", "receive")
                ]
                if sorted(ends) != sorted([(message.source, "send"), (message.target, "receive")]):
                    yield f"`{message.id}` is not sent once and received once in `{program}`"
        for root in model.roots(program):
            node = model.graph_of(program)[root]
            if root not in made and node.op not in PLACELESS and node.op not in INPUTS - STEPS:
                yield f"nothing makes `{root}` in `{program}`"


class _Replay(Struct):
    """One place's steps in their order, with what is there at each."""

    model: Scheduled
    schedule: PlaceSchedule
    program: Program

    def breaches(self, made: set[str]) -> Iterator[str]:
        place, graph = self.schedule.place, self.model.graph_of(self.program)
        there = {node.id for node in graph if node.place == place and node.op in INPUTS - STEPS}
        outside = {graph_name(node.id): node for node in graph if node.op == OP and node.place == place}
        stages = {stage.name: stage for stage in self.schedule.stages[self.program]}
        messages = {message.id: message for message in self.model.messages}
        carried = {edge.id: edge.node for edge in self.model.edges}
        guards = {guard.id: guard for guard in self.model.guards}
        for step in self.schedule.programs[self.program]:
            where = f"{place}, {self.program}, `{step.do} {step.what}`"
            if step.do == "receive":
                there |= {carried[edge] for edge in messages[step.what].edges}
            elif step.do == "send":
                lacking = [carried[edge] for edge in messages[step.what].edges]
                yield from (f"{where}: `{name}` is not there" for name in lacking if name not in there)
            elif step.do == "protect" and step.what in guards:
                there |= {*guards[step.what].after, *(name for _, name in guards[step.what].keeps)}
            elif step.do == "run" and step.what in outside:
                node = outside[step.what]
                yield from (f"{where}: `{name}` is not there" for name in node.inputs if name not in there)
                there.add(node.id)
            elif step.do == "run" and step.what in stages:
                yield from (f"{where}: {what}" for what in self._run(graph, stages[step.what], there))
        made |= there

    def _run(self, graph: Graph, stage: Stage, there: set[str]) -> Iterator[str]:
        inside = set(there)
        for name in stage.nodes:
            for source in graph.inputs(graph[name]):
                if source.op not in PLACELESS and source.id not in inside:
                    yield f"`{name}` reads `{source.id}`, which is not there"
            inside.add(name)
        there |= {name for name in stage.outputs if name in stage.nodes}


def _unvectorised(model: Vectorised) -> Iterator[str]:
    forward = model.client.forward
    named = [model.client.mask, *(ids.id for ids in model.client.ids), *model.client.losses]
    named += model.client.predictions.values()
    yield from (f"the client's graph lacks `{name}`" for name in named if name not in forward)


def _phase_without_gradient(model: Vectorised) -> Iterator[str]:
    for phase, graph in model.client.graphs.items():
        for gradient in model.client.gradients[phase]:
            names = [gradient.weight, *((gradient.dense,) if gradient.dense else ())]
            names += [name for pair in gradient.rows for name in pair]
            yield from (f"`{name}` is not in the graph of `{phase}`" for name in names if name not in graph)


ORDERED = Property("every value comes after its inputs", _disordered)
TYPED = Property("every value has the shape that its op gives", _mistyped)
NEEDED = Property("every value leads to a loss, a prediction or a statistic", _needless)
PLACED = Property("every value has a place, and data lies at its party", _placeless)
ONE_MODE = Property("no value depends on whether it is training", _two_modes)
DIFFERENTIATED = Property("gradients have the shapes of their weights", _without_gradient)
UPDATED = Property("every weight with a gradient has one update, where it lies", _not_updated)
CUT = Property("what is read elsewhere is an edge, and every edge travels in one message", _uncut)
SCHEDULED = Property("every step finds what it reads, and every message has its two ends", _unready)
VECTORISED = Property("the client's graph has all that it names", _unvectorised)
PHASES = Property("each phase's graph has its gradients", _phase_without_gradient)
GRAPH = (ORDERED, TYPED)
"""Of every graph, after every pass."""
