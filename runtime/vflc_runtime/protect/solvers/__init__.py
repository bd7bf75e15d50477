"""Solvers: a module each, which holds `SOLVER`. Others are entry points `vflc.solvers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from vflc_common.arrays import Array
from vflc_common.plugins import BrokenPlugin, Plugin, Records

from vflc_runtime.bundle.plan_guards import Guard
from vflc_runtime.bundle.plugins import load, unusable
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.errors import Failure
from vflc_runtime.protect.noise import Noise
from vflc_runtime.protect.solver import Solver

SOLVERS: Records[Solver] = Records("solvers", __name__, "SOLVER", Solver)


class Solved:
    """The solver of one guard at work, whose errors and rows are looked at.

    Args:
        name: of the solver.
        guard: that it is of.
        plugins: those that the manifest names: another package's must be among them.

    Raises:
        Failure: VFL0613, there is none of that name, or it is not named; VFL0695, it cannot be used.
    """

    def __init__(self, name: str, guard: Guard, plugins: Sequence[Plugin]) -> None:
        if name not in SOLVERS:
            raise damaged(f"guard {guard.id!r} needs the solver {name!r}, which is not known here")
        load(SOLVERS, (name,), plugins)
        self._name = name
        with self._using() as solver:
            self._solving = solver.make(guard)

    def __call__(self, rows: Array, label: Array, noise: Noise) -> Array:
        """As `Solving`; VFL0695 also where it makes something else of rows [rows, n]."""
        with self._using():
            made = self._solving(rows, label, noise)
            if not isinstance(made, np.ndarray) or (made.shape, made.dtype) != (rows.shape, rows.dtype):
                raise ValueError(f"makes {getattr(made, 'shape', made)!r:.60} of rows {rows.shape}")
        return made

    def memory(self) -> Mapping[str, Array]:
        """See `Solving`."""
        with self._using():
            return self._solving.memory()

    def counts(self) -> Mapping[str, int]:
        """See `Solving`."""
        with self._using():
            return self._solving.counts()

    def restore(self, memory: Mapping[str, Array], counts: Mapping[str, int]) -> None:
        """See `Solving`."""
        with self._using():
            self._solving.restore(memory, counts)

    @contextmanager
    def _using(self) -> Iterator[Solver]:
        try:
            with SOLVERS.using(self._name, Failure) as solver:
                yield solver
        except BrokenPlugin as broken:
            raise unusable(broken) from broken
