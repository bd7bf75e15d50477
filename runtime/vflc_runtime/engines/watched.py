"""An engine of another package: what it raises and gives is looked at before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
from vflc_common.arrays import Array
from vflc_common.engines import ENGINES
from vflc_common.plugins import BrokenPlugin

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.plugins import find_engine, unusable
from vflc_runtime.engines.engine import Engine
from vflc_runtime.errors import Failure


class Watched:
    """The engine of that name, as `Engine` says.

    What it raises, arrays that are none, and weights that are not those of the plan are VFL0695. Whether what
    crosses is what the manifest says is checked where it arrives, as it is for all.
    """

    def __init__(
        self, name: str, plan: Plan, programs: tuple[str, ...], seed: int, threads: int | None = None
    ) -> None:
        self._name, self.plan = name, plan
        with self._watching():
            self._engine: Engine = ENGINES[name].make(plan, programs, seed, threads)
        self._weights = {weight.name: weight.shape for weight in plan.weights.values()}

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            with ENGINES.using(self._name, Failure):
                yield
        except BrokenPlugin as broken:
            raise unusable(broken) from broken

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        with self._watching():
            self._engine.begin(program, inputs, rows, step)

    def run(self, graph: str) -> None:
        with self._watching():
            self._engine.run(graph)

    def catch_up(self, update: str) -> None:
        with self._watching():
            self._engine.catch_up(update)

    def update(self, update: str) -> None:
        with self._watching():
            self._engine.update(update)

    def assign(self, array: str) -> None:
        with self._watching():
            self._engine.assign(array)

    def put(self, value: str, tensor: Array) -> None:
        with self._watching():
            self._engine.put(value, tensor)

    def get(self, value: str) -> Array:
        with self._watching():
            return self._array(value, self._engine.get(value))

    def values(self) -> list[str]:
        with self._watching():
            return list(self._engine.values())

    def weights(self) -> dict[str, Array]:
        found = self._arrays("weights")
        if {name: each.shape for name, each in found.items()} != self._weights:
            raise self._wrong("has other weights than the plan")
        if any(each.dtype != self.plan.precision for each in found.values()):
            raise self._wrong(f"has weights that are not {self.plan.precision}")
        return found

    def stored(self) -> dict[str, Array]:
        found = self._arrays("stored")
        if any(self._weights.get(name) != each.shape for name, each in found.items()):
            raise self._wrong("stores other weights than those of the plan")
        return found

    def slots(self) -> dict[str, Array]:
        return self._arrays("slots")

    def load(
        self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None = None, step: int | None = None
    ) -> None:
        with self._watching():
            self._engine.load(weights, slots, step)

    def _arrays(self, what: str) -> dict[str, Array]:
        with self._watching():
            return {name: self._array(name, each) for name, each in getattr(self._engine, what)().items()}

    def _array(self, name: str, value: object) -> Array:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise self._wrong(f"gives for {name!r} no array of numbers")
        return value

    def _wrong(self, why: str) -> Failure:
        found = ENGINES.plugin(self._name)
        assert found is not None, "ours are not watched"
        return unusable(
            BrokenPlugin(f"the engine {self._name!r} of the package {found.package} {found.version} {why}")
        )


EngineMaker = Callable[[Plan, tuple[str, ...], int, int | None], Engine]


def engine_maker(name: str) -> EngineMaker:
    """Makes engines from (plan, programs, seed, threads); raises as `find_engine` does."""
    record = find_engine(name)
    if name in ENGINES.ours:
        return record.make
    return partial(Watched, name)
