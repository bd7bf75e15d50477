"""`plan.json` and `encoders.json`: what one party's runtime needs, as data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from msgspec.structs import asdict, replace
from vflc_common.expressions import columns as columns_read
from vflc_common.keys import key_json
from vflc_common.words import FORMAT, PROGRAMS, Program

from vflc import __version__
from vflc.diagnostics import Span
from vflc.emit.manifest.sizes import only_summed
from vflc.emit.onnx.update import build_updates, catch_up, optimizers_at, slots_of, update_graph
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.listed import ListedFile
from vflc.ir.model import UNSPLIT, ColumnInfo, PlaceSchedule, Prediction, Step
from vflc.ir.outside import OP, OutsideModel, graph_name
from vflc.ir.release import Guard
from vflc.ir.stages import Placed, Scheduled
from vflc.ir.types import BATCH, TensorType
from vflc.ops import OPS
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.reading import rows_read
from vflc.ops.source import FED, INPUTS


def plan(model: Scheduled, schedule: PlaceSchedule, precision: str, files: dict[str, str]) -> dict[str, Any]:
    """The plan of one place. `files` names the file of each of its graphs."""
    place = schedule.place
    used = _used(model, place)
    weights = [node for node in used.values() if node.op == "weight"]
    return {
        "format": FORMAT,
        "vflc": __version__,
        "kind": "place",
        "model": model.name,
        "place": place,
        "precision": precision,
        "tables": _tables(model, place),
        "inputs": [_input(model, node) for node in used.values() if node.op in FED],
        "weights": [entry for node in weights for entry in _weights(node)],
        "arrays": [_array(node) for node in weights],
        "randoms": [{"id": n.id, "shape": shape_of(n.type)} for n in used.values() if n.op == "random"],
        "graphs": _graphs(model, schedule, files) | _update_graphs(model, place, files),
        "optimizers": _optimizers(model, place),
        "updates": [_update(model, update.id) for update in model.updates if update.place == place],
        "guards": [_guard(model, guard, schedule) for guard in model.guards if guard.place == place],
        "assigns": [
            {"array": weight, "value": value}
            for weight, value in model.assigns
            if model.graph[weight].place == place
        ],
        **_fits(model, place),
        "programs": {p: [_step(step.do, step.what) for step in schedule.programs[p]] for p in model.programs},
        "reports": {program: _reports(model, place, program) for program in PROGRAMS},
        "metrics": [_metric(model, p) for p in model.predictions if _measured_at(model, p) == place],
        "train": _train(model),
    }


def _used(model: Scheduled, place: str) -> dict[str, Node]:
    """Everything that any program reads at the place, in order of the graph."""
    found: dict[str, Node] = {}
    for program in model.programs:
        graph = model.graph_of(program)
        needed = graph.ancestors(model.roots(program))
        found |= {n.id: n for n in graph if n.id in needed and n.place == place and n.op not in PLACELESS}
    return found


def given_at(model: Scheduled, place: str) -> dict[str, Any]:
    """The first values that files give for weights at a place, by the weights' names."""
    found = {}
    for node in _used(model, place).values():
        if node.op == "weight" and "values" in node.attrs:
            array, part = node.attrs["values"].array(), node.attrs.get("slice")
            found[node.id] = array if part is None else array[part.start : part.start + node.type.sizes[0]]
    return found


def outside_at(model: Scheduled, place: str) -> list[Node]:
    """The values at a place that files of other tools give."""
    return [node for node in _used(model, place).values() if node.op == OP]


def outside_models(model: Scheduled, place: str) -> list[OutsideModel]:
    """These files, each once."""
    return list(dict.fromkeys(node.attrs["model"] for node in outside_at(model, place)))


def outside_graphs(model: Scheduled, place: str) -> dict[str, Any]:
    """These values among the graphs of a plan."""
    return {
        graph_name(node.id): {
            "file": node.attrs["model"].file,
            "inputs": list(node.inputs),
            "outputs": [node.id],
            "outside": {
                "inputs": [list(sizes) for sizes in node.attrs["model"].inputs],
                "outputs": [list(sizes) for sizes in node.attrs["model"].outputs],
                "output": node.attrs["output"],
            },
        }
        for node in outside_at(model, place)
    }


def listed_files(model: Placed, place: str) -> list[ListedFile]:
    """Files of values that encoders of a place's columns know, each once."""
    columns = (column for name in _tables(model, place) for column in model.party(name).columns)  # type: ignore[union-attr]
    return list({column.listed.file: column.listed for column in columns if column.listed}.values())


def _tables(model: Placed, place: str) -> list[str]:
    parties = [party.name for party in model.parties if party.key]
    return parties if place == UNSPLIT else [name for name in parties if name == place]


def shape_of(type_: TensorType) -> list[int | None]:
    """The sizes of a type as JSON; None is the batch, or what only a run knows."""
    return [None if axis.name == BATCH else axis.size for axis in type_.axes]


def _input(model: Scheduled, node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": node.id,
        "party": node.attrs["party"],
        "column": node.attrs["name"],
        "dtype": node.type.dtype,
        "shape": shape_of(node.type),
    }
    if node.type.row_size is None and only_summed(model, node.id):
        entry["trimmed"] = True
    if node.op == "present":
        entry["present"] = True
    return entry if node.op in ("feature", "present") else {**entry, "label": True}


def _weights(node: Node) -> list[dict[str, Any]]:
    """A weight as users know it; a fused table is several of them."""
    trainable = node.attrs["trainable"]
    parts = node.attrs.get("parts")
    if parts is None:
        shape = list(node.type.sizes)
        return [
            {
                "name": node.id,
                "shape": shape,
                "init": asdict(node.attrs["init"]),
                "trainable": trainable,
                "array": node.id,
                "offset": 0,
                **({"fitted": node.attrs["fitted"]} if "fitted" in node.attrs else {}),
                **({"slice": asdict(node.attrs["slice"])} if "slice" in node.attrs else {}),
            }
        ]
    return [
        {
            "name": part.name,
            "shape": [part.rows, *node.type.sizes[1:]],
            "init": asdict(init),
            "trainable": trainable,
            "array": node.id,
            "offset": part.offset,
        }
        for part, init in zip(parts, node.attrs["inits"], strict=True)
    ]


def _fits(model: Scheduled, place: str) -> dict[str, Any]:
    """The weights of the place that are fitted before the first step, where any are anywhere."""
    own = [fit for fit in model.fits if model.inference[fit.weight].place == place]
    return {"fits": [asdict(fit) for fit in own]} if own else {}


def _array(node: Node) -> dict[str, Any]:
    return {"name": node.id, "shape": list(node.type.sizes), "table": node.attrs["table"]}


def _graphs(model: Scheduled, schedule: PlaceSchedule, files: dict[str, str]) -> dict[str, Any]:
    graphs: dict[str, Any] = {}
    for program in model.programs:
        graph = model.graph_of(program)
        for stage in schedule.stages[program]:
            serial = any(OPS[graph[name].op].serial for name in stage.nodes)
            graphs[stage.name] = {
                "file": files[stage.name],
                "inputs": list(stage.inputs),
                "outputs": list(stage.outputs),
                "serial": serial,
            }
    graphs |= outside_graphs(model, schedule.place)
    for guard in model.guards:
        if guard.graph is not None and guard.place == schedule.place:
            _, _, inputs, outputs = guard_graph(guard)
            graphs[guard.id] = {
                "file": files[guard.id],
                "inputs": inputs,
                "outputs": outputs,
                "serial": False,
            }
    return graphs


def _optimizers(model: Scheduled, place: str) -> list[dict[str, Any]]:
    return [
        {
            "id": rule.id,
            "graph": update_graph(rule),
            "slots": [{"name": name, "init": init} for name, init in slots_of(rule).items()],
            "catch_up": catch_up(rule, model.train.clip_value),
            "clip_norm": model.train.clip_norm,
        }
        for rule in optimizers_at(model, place)
    ]


def _update_graphs(model: Scheduled, place: str, files: dict[str, str]) -> dict[str, Any]:
    graphs: dict[str, Any] = {}
    for rule in optimizers_at(model, place):
        for name, update in build_updates(rule, model.train.clip_value).items():
            graphs[name] = {
                "file": files[name],
                "inputs": list(update.inputs),
                "outputs": list(update.outputs),
                "serial": True,  # bound by memory: a second thread costs more than it brings
            }
    return graphs


def _update(model: Scheduled, update_id: str) -> dict[str, Any]:
    update = next(update for update in model.updates if update.id == update_id)
    if update.gradient is None:
        return {
            "id": update.id,
            "kind": "rows",
            "optimizer": update.optimizer,
            "array": update.arrays[0],
            "reads": None if (reads := rows_read(model, update)) is None else list(reads),
            "gradients": [list(pair) for pair in update.pairs],
        }
    size = 0
    for name in update.arrays:
        size += model.graph[name].type.row_size or 0
    return {
        "id": update.id,
        "kind": "dense",
        "optimizer": update.optimizer,
        "gradient": update.gradient,
        "arrays": list(update.arrays),
        "size": size,
    }


def _step(do: str, what: str) -> dict[str, str]:
    key = {
        "run": "graph", "send": "message", "receive": "message", "catch_up": "update", "update": "update",
        "assign": "array", "protect": "guard",
    }[do]  # fmt: skip
    return {"do": do, key: what}


def _guard(model: Scheduled, guard: Guard, schedule: PlaceSchedule) -> dict[str, Any]:
    """A guard, with what a run feeds it: numbers drawn anew, or kept for each row."""
    graph = guard.graph if guard.graph is not None else model.graph
    drawn = [n for n in graph if n.op == "drawn" and n.attrs["guard"] == guard.id]
    kept, mechanism = dict(guard.keeps), MECHANISMS[guard.mechanism]
    return {
        "id": guard.id,
        "mechanism": guard.mechanism,
        "options": dict(guard.options),
        "phase": guard.phase,
        "before": list(guard.before),
        "after": list(guard.after),
        "graph": None if guard.graph is None else guard.id,
        "draws": [
            {
                "id": n.id,
                **{name: n.attrs[name] for name in ("kind", "scale", "keep", "classes", "dtype")},
                "shape": shape_of(n.type),
                "kept": kept.get(n.id),
            }
            for n in drawn
        ],
        "reads": guard.reads,
        "releases": sum(other.protection == guard.protection for other in model.guards),
        "programs": [p for p in PROGRAMS if Step("protect", guard.id) in schedule.programs[p]],
        "privacy": guard.privacy,
        "accounting": mechanism.accounting,
        "solver": mechanism.solver,
        "promise": guard.promise,
        "where": None if guard.span is None else where(guard.span),
    }


def guard_graph(guard: Guard) -> tuple[Graph, list[str], list[str], list[str]]:
    """The graph of a guard that has one: it, its nodes, inputs and outputs."""
    graph = guard.graph
    assert graph is not None
    inputs = [*guard.before, *(node.id for node in graph if node.op == "drawn")]
    nodes = [n.id for n in graph if n.op not in INPUTS and n.op not in PLACELESS]
    return graph, nodes, inputs, [*guard.after, *(value for _, value in guard.keeps)]


def _reports(model: Scheduled, place: str, program: Program) -> dict[str, Any]:
    graph: Graph = model.graph_of(program)
    wanted = set(model.roots(program))
    losses = [
        {"name": loss.name, "value": loss.node, "coefficient": loss.coefficient}
        for loss in model.losses
        if loss.node in wanted and graph[loss.node].place == place
    ]
    predictions = [
        {"name": p.name, "value": p.node, **({"classes": list(p.classes)} if p.classes else {})}
        for p in model.predictions
        if p.node in wanted and graph[p.node].place == place
    ]
    return {"losses": losses, "predictions": predictions}


def _measured_at(model: Scheduled, prediction: Prediction) -> str | None:
    return model.inference[prediction.label].place if prediction.label else None


def _metric(model: Scheduled, prediction: Prediction) -> dict[str, Any]:
    pair: dict[str, Any] = {"prediction": prediction.node, "label": prediction.label}
    if prediction.weight is not None:
        pair["weight"] = prediction.weight
    if prediction.groups:
        pair["groups"] = dict(prediction.groups)
    programs = {
        p: pair for p in ("train", "evaluate") if p == "evaluate" or prediction.node in model.roots("train")
    }
    return {
        "name": prediction.name,
        "kind": prediction.kind,
        **({"classes": list(prediction.classes)} if prediction.classes else {}),
        **pair,
        "metrics": list(prediction.metrics),
        "programs": programs,
    }


def _train(model: Scheduled) -> dict[str, Any]:
    train = model.train
    stopping = None
    if train.patience is not None:
        stopping = {"metric": train.monitor or "loss", "patience": train.patience}
    return {
        "batch": train.batch,
        "epochs": train.epochs,
        "seed": train.seed,
        "validation": train.validation,
        "shuffle": train.shuffle,
        "metrics": list(train.metrics),
        "monitor": train.monitor or "loss",
        "early_stopping": stopping,
        "best": train.best,
        "checkpoint_steps": train.checkpoint_steps,
        **({"secret_start": True} if train.secret_start else {}),
        **({"held_out": asdict(train.held_out)} if train.held_out is not None else {}),
        **({"drop": dict(train.drop)} if train.drop else {}),
        **({"factors": train.precision} if train.precision != "float32" else {}),
    }


# --- encoders ---------------------------------------------------------------------------------


def encoders(model: Placed, place: str, graphs: Iterable[Graph]) -> dict[str, Any]:
    """How the raw columns of a place's tables become ids and numbers, those that a graph reads."""
    used = {node.id for graph in graphs for node in graph}
    parties: dict[str, Any] = {}
    for name in _tables(model, place):
        party = model.party(name)
        assert party is not None
        columns = [c for c in party.columns if c.kind == "column" or f"{name}.{c.name}" in used]
        read = {column for c in columns if c.value for column in columns_read(c.value)}
        if (decides := _held_out(model, name)) is not None:
            read.add(decides)
        kept = [c for c in party.columns if c in columns and (c.kind != "column" or c.name in read)]
        raw = [c for c in party.columns if c.name in read and c not in kept]
        entries = [_column(c) for c in kept]
        entries += [_column(replace(c, kind="column")) for c in raw]
        many: dict[str, Any] = {"rows_per_key": "many"} if party.many else {}
        many |= {"missing": True} if party.missing else {}
        many |= {"part_of_key": list(party.part)} if party.part is not None else {}
        parties[name] = {"key": key_json(party.key), **many, "columns": entries, "where": where(party.span)}
    return {"parties": parties}


def _held_out(model: Placed, party: str) -> str | None:
    """The column of a party that decides which rows are kept for validation, where it has it."""
    kept = model.train.held_out
    return kept.column if kept is not None and kept.party == party else None


def _column(column: ColumnInfo) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "kind": column.kind, "where": where(column.span)}
    if column.table is not None:
        entry["table"] = column.table
    if column.kind != "column":  # what is only computed with has no place in the graph
        encoders = [dict(encoder) for encoder in column.encoders]
        entry |= {"shape": column.shape, "rows": column.rows, "encoders": encoders}
    if column.value is not None:
        entry["value"] = dict(column.value)
    else:
        entry["type"] = column.type
    return entry


def where(span: Span) -> dict[str, Any]:
    """A place in the spec, for messages at run time: the file's name without its folder."""
    line, column = span.source.position(span.start)
    end_line, end = span.source.position(span.end)
    text = span.source.line(line)
    return {
        "file": PurePath(span.source.name).name,
        "line": line,
        "column": column,
        "end_column": end if end_line == line else len(text) + 1,
        "text": text,
    }
