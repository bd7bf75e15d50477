"""What an exported file is made of: graphs of the predict program, in order of execution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vflc_common.arrays import Array

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.bundle.plan import Plan
from vflc_runtime.errors import Failure
from vflc_runtime.export.marks import mark
from vflc_runtime.export.raw import RawFeature

BATCH = "batch"
"""The axis of rows."""
Signature = tuple[str, tuple[int | str, ...]]
"""Type and shape of a value; an axis without a fixed size has a name."""


@dataclass(frozen=True, slots=True)
class ModelPart:
    """A graph of the predict program: what it reads and leaves, by ids of values."""

    place: str
    graph: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class ExportedModel:
    """One exported file.

    Args:
        name: of the file, without its ending, inside the export's folder.
        parts: the graphs in it, in order of execution.
        inputs: ids of the values it takes, raw or not.
        outputs: ids of the values it gives.
        raw: of the inputs that are made of columns, the columns and who does which part of their encoders.
        not_expressed: of the inputs of which the caller does more than reading the column, why.
        difference: the largest from the trained model, on the sample rows.
        whole: whether it is the model of all parties.
        lacking: the parties that may lack rows, where it is that: of each, an input says which rows it has.
    """

    name: str
    parts: list[ModelPart]
    inputs: list[str]
    outputs: list[str]
    raw: dict[str, RawFeature] = field(default_factory=dict)
    not_expressed: dict[str, str] = field(default_factory=dict)
    difference: float = 0.0
    whole: bool = False
    lacking: tuple[str, ...] = ()

    def mark_of(self, party: str) -> str | None:
        """The input that says which rows a party has, where it may lack some."""
        return mark(party) if party in self.lacking else None


@dataclass(frozen=True, slots=True)
class FedFile:
    """A file and what it is fed with."""

    path: Path
    feeds: Mapping[str, Array]
    outputs: list[str]


class Format(Protocol):
    """A format that models can be written in."""

    suffix: str

    def check(self, raw: RawFeature) -> None:
        """NotExpressed where the format cannot do `raw.encoders`."""
        ...

    def signatures(self, model: ExportedModel) -> dict[str, Signature]:
        """Type and shape of what graphs take and leave, by name."""
        ...

    def write(self, model: ExportedModel, path: Path, description: dict[str, Any]) -> None:
        """Writes the file of a model with the trained weights."""
        ...

    def run(self, trials: list[FedFile]) -> list[dict[str, Array]]:
        """Loads files as a stranger would and runs each; gives its outputs by name, [rows, …]."""
        ...


def _order(bundle: Bundle) -> Iterator[ModelPart]:
    """The graphs of the predict program of all places, each after those it waits for."""
    steps = {place: list(plan.programs.get("predict", ())) for place, plan in bundle.plans.items()}
    sent: set[str] = set()
    while any(steps.values()):
        before = sum(map(len, steps.values()))
        for place, waiting in steps.items():
            while waiting and (waiting[0].do != "receive" or waiting[0].target in sent):
                step = waiting.pop(0)
                if step.do == "send":
                    sent.add(step.target)
                elif step.do == "run":
                    graph = bundle.plans[place].graphs[step.target]
                    own = tuple(x for x in graph.inputs if x not in bundle.plans[place].arrays)
                    yield ModelPart(place, step.target, own, graph.outputs)
        if sum(map(len, steps.values())) == before:
            raise Failure("VFL0636", "the run does not have the models of all places that prediction needs")


def _predictions(plan: Plan) -> list[str]:
    return [value for _, value in plan.reports["predict"].predictions]


def by_place(bundle: Bundle) -> list[ExportedModel]:
    """A model of every graph of every place."""
    return [
        ExportedModel(f"{part.place}/{part.graph}", [part], list(part.inputs), list(part.outputs))
        for part in _order(bundle)
    ]


def merged_model(bundle: Bundle) -> ExportedModel:
    """One model of all graphs, from the inputs of all parties to the predictions."""
    parts = list(_order(bundle))
    made = {value for part in parts for value in part.outputs}
    made |= {i.id for plan in bundle.plans.values() for i in plan.inputs.values() if i.present}
    lacking = bundle.manifest.missing
    inputs = dict.fromkeys(value for part in parts for value in part.inputs if value not in made)
    outputs = dict.fromkeys(value for plan in bundle.plans.values() for value in _predictions(plan))
    given = [*inputs, *map(mark, lacking)]
    return ExportedModel(bundle.manifest.model, parts, given, list(outputs), whole=True, lacking=lacking)
