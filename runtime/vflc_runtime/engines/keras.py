"""Runs the forward models with TensorFlow and takes gradients from its tape; any device it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.words import EVERY_PROGRAM

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.cores import cores
from vflc_runtime.engines.buffers import LAST, check_last
from vflc_runtime.engines.keras_gradients import TapeGradients
from vflc_runtime.engines.keras_models import Forward, PlaceWeights
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.engines.keras_updates import Updates
from vflc_runtime.engines.outside import OutsideRuns
from vflc_runtime.engines.randoms import uniform
from vflc_runtime.errors import Failure


class KerasEngine:
    """One place on TensorFlow; see `Engine` for what the methods mean.

    Args:
        plan: of the Keras backend.
        programs: those that will be run; only their models are loaded.
        threads: threads inside an operator; TensorFlow's own choice where None.
    """

    def __init__(self, plan: Plan, programs: tuple[str, ...], seed: int, threads: int | None = None) -> None:
        self.plan, self._seed = plan, seed
        self._tf = tensorflow(threads).tf
        chosen: list[str] = [
            name for name in EVERY_PROGRAM if name in programs
        ]  # training: its variables count
        steps = {name: plan.programs.get(name, ()) for name in chosen}
        self._graphs = {name: {s.target for s in run if s.do == "run"} for name, run in steps.items()}
        runs = dict.fromkeys(s.target for run in steps.values() for s in run if s.do == "run")
        outside = OutsideRuns(plan, threads or cores())
        self._outside = {name: run for name in runs if (run := outside.of(name)) is not None}
        own = [name for name in runs if plan.graphs[name].gradients is None and name not in self._outside]
        self._models = {name: Forward(plan, name) for name in own}
        self._weights = PlaceWeights(plan, self._models, seed)
        training = self._graphs.get("train", set())
        self._gradients = {
            name: TapeGradients(plan, entry.gradients, self._weights, training)
            for name, entry in plan.graphs.items()
            if name in runs and entry.gradients is not None
        }
        self._watched = {
            value
            for name in self._gradients
            for _, value in getattr(plan.graphs[name].gradients, "crossing", ())
        }
        self._updates = Updates(plan, self._weights) if "train" in chosen else None
        self._dtypes = {i.id: "int32" if i.dtype == "int" else plan.precision for i in plan.inputs.values()}
        self._randoms = {name: self._needed(name) for name in chosen}
        self._values: dict[str, Any] = {}
        self._tape: Any = None
        self._step = self._done = self._rows = 0
        self._copies: Mapping[str, Any] = {}

    @property
    def _persistent(self) -> bool:
        """Whether tapes are: of what such a one sees TensorFlow prepares gradients of gradients, too."""
        return len(self._gradients) > 1

    def _needed(self, program: str) -> list[str]:
        """The random values that the models of a program read."""
        read = {x for name in self._graphs[program] for x in self.plan.graphs[name].inputs}
        return [name for name in self.plan.randoms if name in read]

    def begin(self, program: str, inputs: Mapping[str, Array], rows: int, step: int) -> None:
        self._step, self._rows, self._values, self._updated = step, rows, {}, False
        self._tape = self._tf.GradientTape(self._persistent) if program == "train" else None
        self._weights.refresh(self._graphs[program], {} if program == "train" else self._current())
        for name, array in inputs.items():
            self.put(name, np.asarray(array, self._dtypes[name]))
        for name in self._randoms[program]:
            shape = tuple(rows if size is None else size for size in self.plan.randoms[name].shape)
            self.put(name, uniform(self._seed, name, step, shape, self.plan.precision))

    def run(self, graph: str) -> None:
        if graph in self._gradients:
            self._gradients[graph].run(self._tape, self._values)
        elif graph in self._outside:
            found = self._outside[graph]
            self.put(found.output, found([self.get(name) for name in found.inputs], self._rows))
        elif self._tape is None:
            self._models[graph].run(self._values)
        else:
            self._models[graph].run_on(self._tape, self._persistent, self._values)

    def catch_up(self, update: str) -> None:
        if self._updates is not None:
            self._updates.catch_up(update, self._values, self._step)
            self._weights.refresh(self._graphs["train"], {})

    def update(self, update: str) -> None:
        """The first update of a step makes them all: none comes before all gradients are there."""
        if self._updates is not None and not self._updated:
            self._updates.apply(self._values, self._step)
            self._done, self._copies = self._step, {}
        self._updated = True

    def update_by(self, make: Callable[[Plan, PlaceWeights], Any]) -> None:
        """Lets something else than `Updates`, with the same methods, train; before the first step."""
        self._updates = make(self.plan, self._weights)

    def _current(self) -> Mapping[str, Any]:
        """The tables whose rows may have missed steps, as they are after all steps done."""
        if self._updates is not None and self._done and not self._copies:
            self._copies = self._updates.current(self._done)
        return self._copies

    def assign(self, array: str) -> None:
        self._weights.assign(array, self._values[self.plan.assigns[array]])

    def put(self, value: str, tensor: Array) -> None:
        self._values[value] = held = self._tf.constant(tensor)
        if self._tape is not None and value in self._watched:
            with self._tape:
                self._tape.watch(held)

    def get(self, value: str) -> Array:
        if value in self._values:
            return np.asarray(self._values[value].numpy())
        return self._weights.array(value)

    def values(self) -> list[str]:
        return list(self._values)

    def weights(self) -> dict[str, Array]:
        return self._weights.arrays(self._current())

    def stored(self) -> dict[str, Array]:
        names = self._updates.stored() if self._updates is not None else ()
        return {name: self._weights.array(name) for name in names}

    def slots(self) -> dict[str, Array]:
        return self._updates.slots() if self._updates is not None else {}

    def model(self, graph: str) -> Any:
        """The Keras model of a graph, with the weights as they are now."""
        self._weights.refresh({graph}, self._current())
        return self._models[graph].model

    def load(
        self, weights: Mapping[str, Array], slots: Mapping[str, Array] | None = None, step: int | None = None
    ) -> None:
        _check("weight", self.weights(), weights)
        done, self._done, self._copies = self._done, self._done if step is None else step, {}
        if slots is not None:
            _check("optimizer slot", self.slots(), slots)
            for name in slots:
                if name.endswith(f"/{LAST}"):
                    check_last(name, slots[name], self._done)
            if self._updates is not None:
                self._updates.load(slots)
        elif self._updates is not None:
            self._updates.settle(done)
        for name in self.plan.weights:
            self._weights.assign(name, weights[name])


def _check(what: str, mine: Mapping[str, Array], given: Mapping[str, Array]) -> None:
    """VFL0621 where something is missing or of another shape."""
    for name, array in mine.items():
        if name not in given or given[name].shape != array.shape:
            raise Failure("VFL0621", f"{what} {name!r} of shape {list(array.shape)} is not among those saved")
