"""A place's plan as the runtime uses it: frozen; `plan_reader` makes it, `checks` vouches for it.

A `Plan` is that of a place of a model over parties; those of a population are in `population_plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vflc_common.arrays import Array
from vflc_common.words import ENCODERS_FILE, FactorType, HeldOutBy, StepKind

from vflc_runtime.bundle.contents import Contents
from vflc_runtime.bundle.listed import with_values
from vflc_runtime.bundle.plan_guards import Guard
from vflc_runtime.bundle.plan_keras import LayerVariable, TapePlan
from vflc_runtime.bundle.plan_rows import CatchUp, ReplaySteps
from vflc_runtime.metrics import ClassNames, MeasuredPrediction


@dataclass(frozen=True, slots=True)
class Input:
    """A value fed from the data of the batch. `shape` starts with None, the rows.

    Where it is `trimmed`, nothing depends on how far its rows are filled up with -1. Where it tells whether
    the party is `present`, it is 1 or 0, and no column has it.
    """

    id: str
    party: str
    column: str
    dtype: str
    shape: tuple[int | None, ...]
    label: bool
    trimmed: bool = False
    present: bool = False


@dataclass(frozen=True, slots=True)
class Initializer:
    """How a weight starts; `scale` is the bound, the deviation or the constant."""

    kind: str
    scale: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """What an encoder of a column was fitted to, such as its mean: `input` is `party.column`."""

    input: str
    encoder: int
    parameter: str


@dataclass(frozen=True, slots=True)
class Slice:
    """Which rows of a weight that users know, of the `rows` of `of`: those from `start` on."""

    of: str
    rows: int
    start: int


@dataclass(frozen=True, slots=True)
class Weight:
    """What users know: a tensor with a name, part of the array `array` from row `offset` on.

    One with `fitted` is not trained: it holds what a label's encoder was fitted to, so that
    predictions come in the units of the table. One with `slice` is a part of what users know, the rest of
    which may lie elsewhere. Of one that starts as a file says, `given` are its numbers.
    """

    name: str
    shape: tuple[int, ...]
    init: Initializer
    trainable: bool
    array: str
    offset: int
    fitted: Fitted | None = None
    slice: Slice | None = None
    given: Array | None = field(default=None, repr=False, compare=False)

    @property
    def whole(self) -> str:
        """The name by which users know it, or what it is a slice of."""
        return self.name if self.slice is None else self.slice.of


@dataclass(frozen=True, slots=True)
class WeightArray:
    """What graphs take: one weight, or several tables of one width stacked along the first axis."""

    name: str
    shape: tuple[int, ...]
    table: bool

    @property
    def size(self) -> int:
        count = 1
        for axis in self.shape:
            count *= axis
        return count


@dataclass(frozen=True, slots=True)
class Random:
    """Uniform numbers in [0, 1), drawn anew each step; None in the shape is the batch."""

    id: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class OutsideGraph:
    """That a graph is a model of another tool: the sizes a row has in its inputs and outputs, in its order.

    `output` is the number of the one that is wanted.
    """

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    output: int


@dataclass(frozen=True, slots=True)
class GraphFile:
    """A subgraph; names of its inputs and outputs are ids of values.

    Args:
        file: None where there are only `gradients` to take.
        held: where a Keras model holds its weights.
        serial: whether it must, or had better, run in one thread.
        outside: where the file is not vflc's own: names in it are other ones.
    """

    name: str
    file: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    held: tuple[LayerVariable, ...] = ()
    gradients: TapePlan | None = None
    serial: bool = False
    outside: OutsideGraph | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """What an optimizer keeps for every weight."""

    name: str
    init: float


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Graphs from (weight, gradient, step, slots) to (new weight, new slots).

    Args:
        graph: elementwise over one axis.
        catch_up: what is to be made up for in rows of tables that missed steps, if anything.
    """

    id: str
    graph: str
    slots: tuple[Slot, ...]
    clip_norm: float | None
    catch_up: CatchUp | ReplaySteps | None


@dataclass(frozen=True, slots=True)
class DenseUpdate:
    """`arrays` lie one after another in a flat buffer of `size` numbers, like the value `gradient`."""

    id: str
    optimizer: str
    gradient: str
    arrays: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class RowsUpdate:
    """Updates the rows of `array` that the ids name; `gradients` are pairs (ids, gradient).

    `reads` are the ids by which a step reads the table; None where it reads all of it.
    """

    id: str
    optimizer: str
    array: str
    gradients: tuple[tuple[str, str], ...]
    reads: tuple[str, ...] | None


Update = DenseUpdate | RowsUpdate


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a place does: `run` a graph, `send` or `receive` a message, let a guard `protect`, …"""

    do: StepKind
    target: str


@dataclass(frozen=True, slots=True)
class Loss:
    """One term of the objective; the loss is the sum of coefficient times value over all places."""

    name: str
    value: str
    coefficient: float


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """What a program leaves behind at this place.

    Args:
        predictions: name and value of each.
        classes: of those that give shares to classes with names, what the table holds for each class.
    """

    losses: tuple[Loss, ...] = ()
    predictions: tuple[tuple[str, str], ...] = ()
    classes: dict[str, ClassNames] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableFit:
    """That a weight [n, 1] is the weight of evidence of bins, by their `counts` [n, 2] of the training rows.

    `counts` is the value that has them of a batch: of each bin the rows with the label, and those without.
    `counted_by`, the example weight if there is one, `smoothing` and `monotone` are as in the spec.
    """

    weight: str
    counts: str
    feature: str
    label: str
    counted_by: str | None
    smoothing: float
    monotone: bool


@dataclass(frozen=True, slots=True)
class HeldOutRule:
    """A column of a party's table that decides which rows are kept for validation, and how."""

    by: HeldOutBy
    party: str
    column: str


@dataclass(frozen=True, slots=True)
class Training:
    """The defaults of a run, from the spec.

    `batch` is in rows, `patience` in epochs, `validation` a share of the rows; a checkpoint is written every
    `checkpoint_steps` steps. `monitor` is the result that says which epoch is the best; without `patience`
    epochs never stop early. With `secret_start` initial weights are each place's own secret. `held_out` says
    which rows are kept for validation, where the seed does not. `drop` are shares of the training rows that
    parties which may lack rows are left out of. `factors` of matrix products may be rounded, where that is
    faster.
    """

    batch: int
    epochs: int
    seed: int
    validation: float
    shuffle: bool
    monitor: str
    patience: int | None
    best: bool
    checkpoint_steps: int | None
    secret_start: bool = False
    held_out: HeldOutRule | None = None
    drop: Mapping[str, float] = field(default_factory=dict)
    factors: FactorType = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacePlan:
    """One place's part of a bundle, of whatever kind: who it is and what it does, step by step.

    `tables` are the parties whose tables it reads.
    """

    contents: Contents
    model: str
    place: str
    precision: str
    tables: tuple[str, ...]
    programs: dict[str, tuple[Step, ...]]
    guards: dict[str, Guard] = field(default_factory=dict)

    @property
    def encoders(self) -> dict[str, Any]:
        """How columns are encoded, by the party whose table has them: those of its encoders.json."""
        parties = self.contents.json(ENCODERS_FILE)["parties"]
        return {party: with_values(info.value, self.contents) for party, info in parties.items()}

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the metrics that are computed here."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(PlacePlan):
    """That of a place that runs graphs over the rows of a batch."""

    inputs: dict[str, Input]
    weights: dict[str, Weight]
    arrays: dict[str, WeightArray]
    randoms: dict[str, Random]
    graphs: dict[str, GraphFile]
    optimizers: dict[str, Optimizer]
    updates: dict[str, Update]
    assigns: dict[str, str]
    reports: dict[str, ProgramReport]
    metrics: tuple[MeasuredPrediction, ...]
    training: Training
    fits: tuple[TableFit, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """See `PlacePlan`."""
        return tuple(name for scored in self.metrics for name in scored.metrics)

    def graph_path(self, graph: str) -> Path:
        """Where the graph's file lay, for messages: what runs is `graph_content`."""
        return self.contents.folder / str(self.graphs[graph].file)

    def graph_content(self, graph: str) -> bytes:
        """The graph's file."""
        return self.contents.read(str(self.graphs[graph].file))
