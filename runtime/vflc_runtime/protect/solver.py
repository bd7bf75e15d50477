"""What a solver is: it makes rows that cross in a step of the run, as no graph can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from vflc_common.arrays import Array

from vflc_runtime.bundle.plan_guards import Guard
from vflc_runtime.protect.noise import Noise


class Solving(Protocol):
    """One guard's, for a whole run."""

    def __call__(self, rows: Array, label: Array, noise: Noise, /) -> Array:
        """What crosses for joint rows [rows, n], of the same shape and dtype.

        Args:
            rows: as they are.
            label: which each depends on, 0 or 1, [rows] or [rows, 1].
            noise: of this step.
        """
        ...

    def memory(self) -> Mapping[str, Array]:
        """What later steps need of those so far, arrays [*] by name: part of a checkpoint."""
        ...

    def counts(self) -> Mapping[str, int]:
        """What it counts in a run, by name: part of a checkpoint, and of `metrics.json`."""
        ...

    def restore(self, memory: Mapping[str, Array], counts: Mapping[str, int]) -> None:
        """Takes up what a checkpoint has: `memory`, arrays [*] by name, and `counts`."""
        ...


@dataclass(frozen=True, slots=True)
class Solver:
    """A solver by name.

    Args:
        name: as the record of its mechanism has it.
        make: from the guard, with the mechanism's options, to one at work.
    """

    name: str
    make: Callable[[Guard], Solving]
