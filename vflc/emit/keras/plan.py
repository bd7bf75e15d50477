"""`PLACE/keras/`: the same plan with Keras models of the forward parts and gradients by a tape.

Messages, steps and the ids at the cut edges are those of the ONNX plan. Tables are not fused:
every weight is an array of its own, under its own name. What a protection of weights guards is
computed by vflc's own backward nodes here, too.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from vflc_common.canonical import canonical
from vflc_common.words import Program

from vflc.emit.keras.gradients import gradient_graphs, private_graph, row_ids
from vflc.emit.keras.models import ONE, KerasModel, to_keras
from vflc.emit.onnx.update import UpdateGraph, build_updates, optimizers_at
from vflc.emit.outside import given_values
from vflc.emit.plan import given_at, guard_graph, outside_at, outside_graphs, outside_models, plan
from vflc.ir.graph import PLACELESS
from vflc.ir.model import PlaceSchedule, Stage, Step
from vflc.ir.stages import Scheduled
from vflc.ops.source import INPUTS


def keras_files(model: Scheduled, schedule: PlaceSchedule, precision: str) -> dict[str, bytes]:
    """The files of one place of a scheduled model whose tables are not fused, by name."""
    models = _forward(model, schedule, precision) | _guards(model, schedule, precision)
    private = _private(model, schedule, precision)
    updates = {
        name: _update_model(update, name, precision)
        for rule in optimizers_at(model, schedule.place)
        for name, update in build_updates(rule, model.train.clip_value).items()
    }
    made = models | updates | private
    files = {each.file: each.content for each in made.values()}
    graphs = {name: _entry(each) for name, each in made.items()}
    outside = outside_graphs(model, schedule.place)
    run = {*models, *outside}
    steps, uses = gradient_graphs(model, schedule, run, private)
    graphs |= {use.name: use.entry() for use in uses} | outside
    files |= {m.file: m.content for m in outside_models(model, schedule.place) if m.content is not None}
    files |= given_values(given_at(model, schedule.place), precision)
    data = plan(model, _without_stages(schedule, steps, run), precision, dict.fromkeys(graphs, ""))
    data["graphs"] = graphs
    data["updates"] = [
        {**entry, "gradients": [list(row_ids(entry["id"]))]} if entry["kind"] == "rows" else entry
        for entry in data["updates"]
    ]
    files["plan.json"] = canonical(data).encode()
    return files


def _entry(made: KerasModel) -> dict[str, Any]:
    return {
        "file": made.file,
        "inputs": [value for value in made.inputs if value != ONE],
        "outputs": list(made.outputs),
        "held": [{"weight": h.weight, "layer": h.layer, "index": h.index} for h in made.held],
    }


def _update_model(update: UpdateGraph, name: str, precision: str) -> KerasModel:
    nodes = [node.id for node in update.graph if node.id not in update.inputs and node.op != "constant"]
    return to_keras(update.graph, name, nodes, update.outputs, "float64" if update.double else precision)


def _without_stages(schedule: PlaceSchedule, steps: list[Step], run: Set[str]) -> PlaceSchedule:
    """The schedule with the steps that run here, `run` the graphs that do."""
    programs: dict[Program, tuple[Step, ...]] = {"train": tuple(steps)}
    for program in schedule.programs:
        if program == "train":
            continue
        all_steps = schedule.programs[program]
        programs[program] = tuple(step for step in all_steps if step.do != "run" or step.what in run)
    return PlaceSchedule(schedule.place, programs, dict.fromkeys(schedule.programs, ()))


def _guards(model: Scheduled, schedule: PlaceSchedule, precision: str) -> dict[str, KerasModel]:
    """The models of what protects gradients."""
    models = {}
    for guard in model.guards:
        if guard.graph is not None and guard.place == schedule.place:
            inner, nodes, _, outputs = guard_graph(guard)
            models[guard.id] = to_keras(inner, guard.id, nodes, outputs, precision)
    return models


def _private(model: Scheduled, schedule: PlaceSchedule, precision: str) -> dict[str, KerasModel]:
    """The gradients of updates that a protection of weights has a part in: no tape has rows, but nodes do."""
    graph, place = model.graph, schedule.place
    guarded = {weight for guard in model.guards for weight in guard.weights}
    models = {}
    for update in model.updates:
        if update.place == place and update.gradient and guarded & set(update.arrays):
            needed = graph.ancestors([update.gradient])
            nodes = [
                n.id for n in graph if n.id in needed and n.place == place and n.op not in INPUTS | PLACELESS
            ]
            name = private_graph(update.id)
            models[name] = to_keras(graph, name, nodes, [update.gradient], precision)
    return models


# --- the forward part of every stage ----------------------------------------------------------


def _forward(model: Scheduled, schedule: PlaceSchedule, precision: str) -> dict[str, KerasModel]:
    """A model of every stage that leaves forward values which someone reads."""
    models: dict[str, KerasModel] = {}
    for program in model.programs:
        graph = model.graph_of(program)
        for stage in schedule.stages[program]:
            nodes = [name for name in stage.nodes if graph[name].phase == "forward"]
            wanted = _wanted(model, schedule, program, stage)
            outputs = [name for name in nodes if name in wanted]
            if outputs:
                models[stage.name] = to_keras(graph, stage.name, nodes, outputs, precision)
    return models


def _wanted(model: Scheduled, schedule: PlaceSchedule, program: Program, stage: Stage) -> set[str]:
    """What other stages, other places and the run read of a stage, backward nodes apart."""
    graph = model.graph_of(program)
    wanted = set(model.roots(program))
    wanted |= {
        edge.node for edge in model.edges if edge.source == schedule.place and program in edge.programs
    }
    wanted |= {name for node in outside_at(model, schedule.place) for name in node.inputs}
    for other in schedule.stages[program]:
        if other.name != stage.name:
            wanted |= {x for n in other.nodes if graph[n].phase == "forward" for x in graph[n].inputs}
    return wanted
