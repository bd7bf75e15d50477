"""Reads the plans of a population's places and checks that they hold together."""

from __future__ import annotations

from typing import cast

from vflc_common.words import INITIALS, PREDICTED, SCOPES, SHAPES, Predicted

from vflc_runtime.bundle.contents import Contents
from vflc_runtime.bundle.plan import Initializer, Loss
from vflc_runtime.bundle.plan_reader import read_classes, read_head, read_metrics, read_slots
from vflc_runtime.bundle.population_plan import (
    Gradient,
    HubPlan,
    LocalPhase,
    PopulationGraph,
    PopulationInput,
    PopulationOptimizer,
    PopulationWeight,
    Prediction,
    TableIds,
    UsersPlan,
)
from vflc_runtime.bundle.population_settings import read_settings
from vflc_runtime.bundle.reading import Json, damaged
from vflc_runtime.metrics import MeasuredPrediction


def read_users(contents: Contents) -> UsersPlan:
    """Reads plan.json of the users; VFL0613 where it does not hold together."""
    users = contents.json("plan.json")
    losses = tuple(_loss(item) for item in users["losses"])
    graphs = {name: _graph(contents, item, losses) for name, item in users["graphs"].items()}
    metrics = read_metrics(users["reconstruct"]["metrics"])
    phases = users["phases"]
    plan = UsersPlan(
        **read_head(contents, users),
        inputs={i.id: i for i in (_input(item) for item in users["inputs"])},
        ids=tuple(_ids(item) for item in users["ids"]),
        mask=None if users.get("mask") is None else users["mask"].text(),
        weights={w.name: w for w in (_weight(item) for item in users["weights"])},
        rebuild=_phase(phases["rebuild"], graphs, graphs.get("rebuild")),
        client=_phase(phases["client"], graphs, _named(graphs, "client", users)),
        evaluate=_named(graphs, "evaluate", users),
        predict=_named(graphs, "predict", users),
        losses=losses,
        predictions=tuple(_prediction(item, metrics) for item in users["predictions"]),
        examples=users["examples"].text(),
        settings=read_settings(users["reconstruct"]),
    )
    _check(plan, users)
    return plan


def read_hub(contents: Contents) -> HubPlan:
    """Reads plan.json of the hub; VFL0613 where it does not hold together."""
    hub = contents.json("plan.json")
    return HubPlan(
        **read_head(contents, hub),
        weights={w.name: w for w in (_weight(item) for item in hub["weights"])},
        server=_optimizer(
            hub["optimizer"], {name: _graph(contents, item, ()) for name, item in hub["graphs"].items()}
        ),
        examples=hub["examples"].text(),
    )


def _check(plan: UsersPlan, where: Json) -> None:
    """Graphs read what a client update feeds, and each phase finds the gradients of its weights."""
    fed = {*plan.inputs, *(ids.id for ids in plan.ids), *plan.weights, plan.mask}
    tables = {weight.name for weight in plan.weights.values() if weight.table}
    for ids in plan.ids:
        if ids.table not in tables or not set(ids.features) <= set(plan.inputs) or not ids.features:
            raise damaged(f"{where.path}: {ids.id!r} does not read a table by features")
    for graph in (plan.rebuild.graph, plan.client.graph, plan.evaluate, plan.predict):
        if graph is not None and not set(graph.inputs) <= fed:
            raise damaged(f"{where.path}: {graph.path.name} reads what nobody feeds")
    predicted = {prediction.value for prediction in plan.predictions}
    measured = predicted | {loss.value for loss in plan.losses}
    wanted = ((plan.client.graph, measured), (plan.evaluate, measured), (plan.predict, predicted))
    for graph, values in wanted:
        if graph is not None and not values <= set(graph.outputs):
            raise damaged(f"{where.path}: {graph.path.name} does not give {sorted(values)}")
    for phase in (plan.rebuild, plan.client):
        made = set(phase.graph.outputs) if phase.graph is not None else set()
        given = set(phase.graph.inputs) if phase.graph is not None else set()
        for gradient in phase.gradients:
            read = {name for name, _ in gradient.rows}
            found = {name for _, name in gradient.rows} | ({gradient.dense} - {None})
            table = gradient.weight in tables
            if gradient.weight not in plan.weights or not found or not found <= made:
                raise damaged(f"{where.path}: there is no gradient of {gradient.weight!r}")
            if (read and not table) or not read <= {ids.id for ids in plan.ids} & given:
                raise damaged(f"{where.path}: the gradient of {gradient.weight!r} has no rows")


def _loss(item: Json) -> Loss:
    return Loss(item["name"].text(), item["value"].text(), item["coefficient"].number())


def _graph(contents: Contents, item: Json, losses: tuple[Loss, ...]) -> PopulationGraph:
    name = item["file"].text()
    taken = item.get("gradients")
    gradients = tuple((each["gradient"].text(), each["weight"].text()) for each in taken or ())
    inputs, outputs = item["inputs"].texts(), item["outputs"].texts()
    path, content = contents.folder / name, contents.read(name)
    return PopulationGraph(path, content, inputs, outputs, gradients, losses if gradients else ())


def _named(graphs: dict[str, PopulationGraph], name: str, where: Json) -> PopulationGraph:
    if name not in graphs:
        raise damaged(f"{where.path}: there is no graph {name!r}")
    return graphs[name]


def _input(item: Json) -> PopulationInput:
    return PopulationInput(item["id"].text(), item["kind"].one_of(*SHAPES), item["label"].flag())


def _ids(item: Json) -> TableIds:
    return TableIds(
        item["id"].text(), item["table"].text(), item["features"].texts(), item["distinct"].flag()
    )


def _weight(item: Json) -> PopulationWeight:
    init = Initializer(item["init"]["kind"].one_of(*INITIALS), item["init"]["scale"].number())
    table, local = item["table"].flag(), item["scope"].one_of(*SCOPES) == "local"
    ids = item["ids"].text() if table and not local else None
    delta = None if local else item["delta"].text()
    return PopulationWeight(item["name"].text(), item["shape"].shape(), init, table, local, ids, delta)


def _phase(item: Json, graphs: dict[str, PopulationGraph], graph: PopulationGraph | None) -> LocalPhase:
    gradients = tuple(
        Gradient(
            each["weight"].text(),
            None if each.get("dense") is None else each["dense"].text(),
            tuple(_pair(pair) for pair in each["rows"]),
        )
        for each in item["gradients"]
    )
    return LocalPhase(graph, _optimizer(item["optimizer"], graphs), gradients)


def _pair(item: Json) -> tuple[str, str]:
    names = item.texts()
    if len(names) != 2:
        raise item.wrong("ids and their rows")
    return names[0], names[1]


def _optimizer(item: Json, graphs: dict[str, PopulationGraph]) -> PopulationOptimizer:
    return PopulationOptimizer(
        _named(graphs, item["graph"].text(), item),
        read_slots(item["slots"]),
        item["sparse"].flag(),
    )


def _prediction(item: Json, metrics: tuple[str, ...]) -> Prediction:
    name, value = item["name"].text(), item["value"].text()
    if item.get("label") is None:
        return Prediction(name, value, None, None, read_classes(item))
    label, kind = item["label"].text(), cast(Predicted, item["kind"].one_of(*PREDICTED))
    metric = MeasuredPrediction(name, kind, metrics, {"train": (value, label)})
    return Prediction(name, value, label, metric, read_classes(item))
