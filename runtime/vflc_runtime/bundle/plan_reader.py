"""Reads `plan.json` into a `Plan`: every field of the kind it must be, or VFL0613."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from vflc_common.arrays import Array
from vflc_common.metrics import METRICS, metric_use
from vflc_common.words import (
    EVERY_PROGRAM,
    FACTORS,
    FORMAT,
    FROM_FILE,
    HELD_OUT_BY,
    INITIALS,
    KINDS,
    OF_LAYERS,
    PRECISIONS,
    PREDICTED,
    STEPS,
    FactorType,
    HeldOutBy,
    Predicted,
    StepKind,
)

from vflc_runtime.bundle.contents import Contents
from vflc_runtime.bundle.first import first_of, read_first
from vflc_runtime.bundle.plan import (
    DenseUpdate,
    Fitted,
    GraphFile,
    HeldOutRule,
    Initializer,
    Input,
    Loss,
    Optimizer,
    OutsideGraph,
    Plan,
    ProgramReport,
    Random,
    RowsUpdate,
    Slice,
    Slot,
    Step,
    TableFit,
    Training,
    Update,
    Weight,
    WeightArray,
)
from vflc_runtime.bundle.plan_guards import read_guard
from vflc_runtime.bundle.plan_keras import read_gradients, read_held
from vflc_runtime.bundle.plan_rows import read_catch_up
from vflc_runtime.bundle.reading import Json, damaged
from vflc_runtime.metrics import ClassNames, MeasuredPrediction

T = TypeVar("T")


def read_kind(contents: Contents) -> str:
    """What the place is whose plan.json this is: one of `KINDS`; VFL0613 where it is none."""
    plan = contents.json("plan.json")
    if plan["format"].integer() != FORMAT:
        raise damaged(f"plan.json has format {plan['format'].value}; this version reads format {FORMAT}")
    return plan["kind"].one_of(*KINDS)


def read_head(contents: Contents, plan: Json) -> dict[str, Any]:
    """The fields of `PlacePlan`, which plans of all kinds have."""
    return {
        "contents": contents,
        "model": plan["model"].text(),
        "place": plan["place"].name(),
        "precision": plan["precision"].one_of(*PRECISIONS),
        "tables": tuple(table.name() for table in plan["tables"]),
        "programs": {
            name: tuple(_step(step) for step in plan["programs"][name])
            for name in EVERY_PROGRAM
            if plan["programs"].get(name) is not None
        },
    }


def read_plan(contents: Contents) -> Plan:
    """Reads plan.json of a place; VFL0613 where a field is missing or of another kind."""
    plan = contents.json("plan.json")
    first = read_first(contents)
    return Plan(
        **read_head(contents, plan),
        inputs=_by(plan["inputs"], _input, "id"),
        weights=_by(plan["weights"], partial(_weight, first), "name"),
        arrays=_by(plan["arrays"], _array, "name"),
        randoms=_by(plan["randoms"], lambda r: Random(r["id"].text(), r["shape"].open_shape()), "id"),
        graphs={name: _graph(name, item) for name, item in plan["graphs"].items()},
        optimizers=_by(plan["optimizers"], _optimizer, "id"),
        updates=_by(plan["updates"], _update, "id"),
        assigns={a["array"].text(): a["value"].text() for a in plan["assigns"]},
        reports={name: _report(plan["reports"].get(name)) for name in EVERY_PROGRAM},
        metrics=tuple(_metric(item) for item in plan["metrics"]),
        training=_training(plan["train"]),
        fits=() if (fits := plan.get("fits")) is None else tuple(map(_fit, fits)),
        guards={} if (guards := plan.get("guards")) is None else _by(guards, read_guard, "id"),
    )


def _by(items: Json, make: Callable[[Json], T], key: str) -> dict[str, T]:
    made: dict[str, T] = {}
    for item in items:
        name = item[key].text()
        if name in made:
            raise damaged(f"{item.path}: {name!r} is there twice")
        made[name] = make(item)
    return made


def _input(item: Json) -> Input:
    return Input(
        id=item["id"].text(),
        party=item["party"].name(),
        column=item["column"].text(),
        dtype=item["dtype"].one_of("int", "float"),
        shape=item["shape"].open_shape(),
        label=item.get("label") is not None and item["label"].flag(),
        trimmed=item.get("trimmed") is not None and item["trimmed"].flag(),
        present=item.get("present") is not None and item["present"].flag(),
    )


def _weight(first: Mapping[str, Array], item: Json) -> Weight:
    init, name, shape = item["init"], item["name"].text(), item["shape"].shape()
    scale = init.get("scale")
    kind = init["kind"].one_of(*INITIALS, *OF_LAYERS, FROM_FILE)
    rank = {"orthogonal": 2, "unit_forget": 1}.get(kind, len(shape))
    if len(shape) != rank or (kind == "unit_forget" and shape[0] % 4):
        raise damaged(f"{item.path}: a weight of shape {list(shape)} does not start as {kind!r}")
    return Weight(
        name=name,
        shape=shape,
        init=Initializer(kind, 0.0 if scale is None else scale.number()),
        given=first_of(first, name, shape) if kind == FROM_FILE else None,
        trainable=item["trainable"].flag(),
        array=item["array"].text(),
        offset=item["offset"].integer(),
        fitted=None if (fitted := item.get("fitted")) is None else _fitted(fitted),
        slice=None if (part := item.get("slice")) is None else _slice(part),
    )


def _fit(item: Json) -> TableFit:
    return TableFit(
        weight=item["weight"].text(),
        counts=item["counts"].text(),
        feature=item["feature"].text(),
        label=item["label"].text(),
        counted_by=None if (by := item.get("counted_by")) is None else by.text(),
        smoothing=item["smoothing"].number(),
        monotone=item["monotone"].flag(),
    )


def _slice(item: Json) -> Slice:
    return Slice(item["of"].text(), item["rows"].integer(), item["start"].integer())


def _fitted(item: Json) -> Fitted:
    parameter = item["parameter"].one_of("mean", "std", "low", "high")
    return Fitted(item["input"].text(), item["encoder"].integer(), parameter)


def read_classes(item: Json) -> ClassNames:
    """What the table holds for each class of a prediction: texts or numbers."""
    classes = item.get("classes")
    return () if classes is None else tuple(each.text_or_number() for each in classes)


def _array(item: Json) -> WeightArray:
    return WeightArray(item["name"].text(), item["shape"].shape(), item["table"].flag())


def _graph(name: str, item: Json) -> GraphFile:
    gradients, held = item.get("gradients"), item.get("held")
    return GraphFile(
        name,
        item["file"].text() if gradients is None else None,
        item["inputs"].texts(),
        item["outputs"].texts(),
        read_held(held) if held is not None else (),
        read_gradients(gradients) if gradients is not None else None,
        (serial := item.get("serial")) is not None and serial.flag(),
        None if (outside := item.get("outside")) is None else _outside(outside),
    )


def _outside(item: Json) -> OutsideGraph:
    shapes = {name: tuple(each.shape() for each in item[name]) for name in ("inputs", "outputs")}
    output = item["output"].integer()
    if not 0 <= output < len(shapes["outputs"]):
        raise item["output"].wrong("the number of an output")
    return OutsideGraph(**shapes, output=output)


def _optimizer(item: Json) -> Optimizer:
    clip, catch_up = item.get("clip_norm"), item["catch_up"]
    return Optimizer(
        id=item["id"].text(),
        graph=item["graph"].text(),
        slots=read_slots(item["slots"]),
        clip_norm=None if clip is None else clip.number(),
        catch_up=None if catch_up.value is None else read_catch_up(catch_up),
    )


def read_slots(items: Json) -> tuple[Slot, ...]:
    """What an optimizer keeps, with initial values."""
    return tuple(Slot(slot["name"].text(), slot["init"].number()) for slot in items)


def _update(item: Json) -> Update:
    if item["kind"].one_of("dense", "rows") == "dense":
        return DenseUpdate(
            id=item["id"].text(),
            optimizer=item["optimizer"].text(),
            gradient=item["gradient"].text(),
            arrays=item["arrays"].texts(),
            size=item["size"].integer(1),
        )
    pairs = [pair.texts() for pair in item["gradients"]]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise item["gradients"].wrong("pairs of ids and gradient")
    return RowsUpdate(
        id=item["id"].text(),
        optimizer=item["optimizer"].text(),
        array=item["array"].text(),
        gradients=tuple((pair[0], pair[1]) for pair in pairs),
        reads=None if item["reads"].value is None else item["reads"].texts(),
    )


def _step(item: Json) -> Step:
    do = cast(StepKind, item["do"].one_of(*STEPS))
    return Step(do, item[STEPS[do]].text())


def _report(item: Json | None) -> ProgramReport:
    if item is None:
        return ProgramReport()
    losses, predictions = item.get("losses"), item.get("predictions")
    return ProgramReport(
        losses=tuple(
            Loss(loss["name"].text(), loss["value"].text(), loss["coefficient"].number())
            for loss in (losses if losses is not None else ())
        ),
        predictions=tuple(
            (each["name"].text(), each["value"].text())
            for each in (predictions if predictions is not None else ())
        ),
        classes={
            each["name"].text(): classes
            for each in (predictions if predictions is not None else ())
            if (classes := read_classes(each))
        },
    )


def read_metrics(items: Json) -> tuple[str, ...]:
    """Metrics as a spec writes them; VFL0613 where one is none. Nothing of other packages is imported yet."""
    written = tuple(item.text() for item in items)
    for item, text in zip(items, written, strict=True):
        try:
            known = metric_use(text).name in METRICS
        except ValueError:
            known = False
        if not known:
            raise item.wrong(f"one of {', '.join(METRICS.names())}")
    return written


def _metric(item: Json) -> MeasuredPrediction:
    metrics = read_metrics(item["metrics"])
    groups = tuple(dict.fromkeys(use.by for use in map(metric_use, metrics) if use.by is not None))
    return MeasuredPrediction(
        name=item["name"].text(),
        kind=cast(Predicted, item["kind"].one_of(*PREDICTED)),
        metrics=metrics,
        programs={name: _measured(program, groups) for name, program in item["programs"].items()},
        classes=read_classes(item),
        groups=groups,
    )


def _measured(program: Json, groups: Sequence[str]) -> tuple[str, ...]:
    """The ids of prediction, label, weight if there is one, and groups."""
    weight = program.get("weight")
    pair = (program["prediction"].text(), program["label"].text())
    weighed = () if weight is None else (weight.text(),)
    return (*pair, *weighed, *(program["groups"][name].text() for name in groups))


def _drop(item: Json | None) -> dict[str, float]:
    """Shares of rows by party."""
    found = {party: share.number() for party, share in item.items()} if item is not None else {}
    if item is not None and not all(0 <= share < 1 for share in found.values()):
        raise item.wrong("shares from 0 to below 1")
    return found


def _training(item: Json) -> Training:
    stop, monitor = item.get("early_stopping"), item.get("monitor")
    steps, best, secret = item.get("checkpoint_steps"), item.get("best"), item.get("secret_start")
    factors = item.get("factors")
    return Training(
        batch=item["batch"].integer(1),
        epochs=item["epochs"].integer(1),
        seed=item["seed"].integer(),
        validation=item["validation"].number(),
        shuffle=item["shuffle"].flag(),
        monitor=stop["metric"].text()
        if stop is not None
        else monitor.text()
        if monitor is not None
        else "loss",
        patience=stop["patience"].integer(1) if stop is not None else None,
        best=best is not None and best.flag(),
        checkpoint_steps=None if steps is None else steps.integer(1),
        secret_start=secret is not None and secret.flag(),
        held_out=_held_out(item.get("held_out")),
        drop=_drop(item.get("drop")),
        factors="float32" if factors is None else cast(FactorType, factors.one_of(*FACTORS)),
    )


def _held_out(item: Json | None) -> HeldOutRule | None:
    if item is None:
        return None
    by = cast(HeldOutBy, item["by"].one_of(*HELD_OUT_BY))
    return HeldOutRule(by, item["party"].text(), item["column"].text())
