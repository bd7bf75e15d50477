"""What the executor needs of whatever runs the subgraphs of one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan


class StepRunner(Protocol):
    """What the executor asks of whatever does one place's work, step by step.

    Arrays that `get` returns may share memory with the engine: they hold until the next update.
    """

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        """Starts a batch: `inputs` are [rows, …]. `step` counts from 1 and seeds the random values."""
        ...

    def run(self, graph: str) -> None:
        """Runs a subgraph on the values and arrays it names."""
        ...

    def catch_up(self, update: str) -> None:
        """Makes up for the steps that rows missed which this batch is about to read."""
        ...

    def update(self, update: str) -> None:
        """Applies an optimizer to the weights that the update names."""
        ...

    def assign(self, array: str) -> None:
        """Sets an array to the value that the plan assigns to it."""
        ...

    def put(self, value: str, tensor: Array) -> None:
        """Takes in a value that was received, [rows, …] or without rows as the manifest has it.

        Raises:
            Failure: VFL0615, it does not fit what it answers.
        """
        ...

    def get(self, value: str) -> Array:
        """A value of the batch, [rows, …] where it has rows, or one of the plan's `arrays`."""
        ...


class Engine(StepRunner, Protocol):
    """One place's weights, optimizer slots and values of the batch at hand.

    Arrays that `get` and `weights` return may share memory with the engine: they hold until
    the next update.
    """

    plan: Plan

    def values(self) -> list[str]:
        """Ids of the values of the batch, in the order in which they came to be."""
        ...

    def weights(self) -> dict[str, Array]:
        """Every weight by the name users know, in its shape [rows, …], as it is after all steps so far."""
        ...

    def stored(self) -> dict[str, Array]:
        """Of weights whose rows lie here as they were when they were last updated, these rows [rows, …]."""
        ...

    def slots(self) -> dict[str, Array]:
        """What optimizers keep, as `WEIGHT/SLOT`, [rows, …]; of weights that are `stored` as old as these."""
        ...

    def load(
        self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None = None, step: int | None = None
    ) -> None:
        """Takes weights; all of them, of the right shape.

        To go on training after `step` steps it takes slots, too, and weights must be as `stored`. Without
        them the weights are those after the steps done here, and slots stay.
        """
        ...
