"""The plans of a population's places as the runtime uses them: frozen; `population_reader` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vflc_runtime.bundle.plan import Initializer, Loss, PlacePlan, Slot
from vflc_runtime.bundle.population_settings import ReconstructSettings
from vflc_runtime.metrics import ClassNames, MeasuredPrediction


@dataclass(frozen=True, slots=True)
class PopulationInput:
    """A column's values. `kind` is `id`, `ids` or `number`."""

    id: str
    kind: str
    label: bool


@dataclass(frozen=True, slots=True)
class TableIds:
    """What is fed to read the copies of `table`; `distinct`: each id of a user's batch once, then -1."""

    id: str
    table: str
    features: tuple[str, ...]
    distinct: bool


@dataclass(frozen=True, slots=True)
class PopulationWeight:
    """A global weight of the hub, or a local one of every user; `shape` is that of one.

    What crosses for a global one: users ask for rows of a table by the value `ids`, they get what
    bears the weight's name, and send back their changes as the value `delta`.
    """

    name: str
    shape: tuple[int, ...]
    init: Initializer
    table: bool
    local: bool
    ids: str | None = None
    delta: str | None = None


@dataclass(frozen=True, slots=True)
class PopulationGraph:
    """A file and the ids of its inputs and outputs.

    Args:
        path: where it lay, for messages.
        content: the file.
        gradients: outputs that the file does not have: (id, the weight it is the gradient of). The
            Keras engine takes them by a tape, as gradients of the losses by their coefficients.
        seeds: these losses.
    """

    path: Path
    content: bytes = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    gradients: tuple[tuple[str, str], ...] = ()
    seeds: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class PopulationOptimizer:
    """Graphs from (weight, gradient, step, slots) to (new weight, new slots), as those of a party's plan.

    `sparse`: a row without a gradient stays as it is, and so do its slots.
    """

    graph: PopulationGraph
    slots: tuple[Slot, ...]
    sparse: bool


@dataclass(frozen=True, slots=True)
class Gradient:
    """Of a weight: one value, or for a table pairs (ids, rows) of its copies.

    The one value of a table has a gradient for every row of the copies; the ids of pairs beside it say which
    rows were read.
    """

    weight: str
    dense: str | None
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LocalPhase:
    """`rebuild` or `client`: what it changes and how."""

    graph: PopulationGraph | None
    optimizer: PopulationOptimizer
    gradients: tuple[Gradient, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What users get; `metric` says how it is measured, by `label`, where a label tells.

    `classes` is what the table holds for each class, where classes have names.
    """

    name: str
    value: str
    label: str | None
    metric: MeasuredPrediction | None
    classes: ClassNames = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsersPlan(PlacePlan):
    """That of every user of a population alike.

    A program runs `rebuild`, then `client`, `evaluate` or `predict`. `examples` is the value by which
    a user says how much its changes count.
    """

    inputs: dict[str, PopulationInput]
    ids: tuple[TableIds, ...]
    mask: str | None
    weights: dict[str, PopulationWeight]
    rebuild: LocalPhase
    client: LocalPhase
    evaluate: PopulationGraph
    predict: PopulationGraph
    losses: tuple[Loss, ...]
    predictions: tuple[Prediction, ...]
    examples: str
    settings: ReconstructSettings

    @property
    def measures(self) -> tuple[str, ...]:
        """See `PlacePlan`."""
        return tuple(name for each in self.predictions if each.metric for name in each.metric.metrics)

    @property
    def globals(self) -> list[PopulationWeight]:
        return [weight for weight in self.weights.values() if not weight.local]

    @property
    def locals(self) -> list[PopulationWeight]:
        return [weight for weight in self.weights.values() if weight.local]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPlan(PlacePlan):
    """That of the hub, which keeps the global `weights` and changes them by the optimizer `server`."""

    weights: dict[str, PopulationWeight]
    server: PopulationOptimizer
    examples: str
