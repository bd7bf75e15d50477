"""What runs a graph of a population's bundle: from arrays to arrays, by an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, cast

from vflc_common.arrays import Array
from vflc_common.engines import ENGINES
from vflc_common.plugins import BrokenPlugin

from vflc_runtime.bundle.plugins import find_engine, unusable
from vflc_runtime.bundle.population_plan import PopulationGraph
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.onnx_session import onnx_errors, ort_value, self_contained, session, short
from vflc_runtime.errors import Failure


class Runner(Protocol):
    """One graph. Weights are inputs like any other, as every user has its own."""

    graph: PopulationGraph

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """From contiguous arrays by input id, [user, …] or rows of copies [rows, k], to arrays by output id.

        What it gives is the caller's.
        """
        ...


Runners = Callable[[PopulationGraph], Runner]


def runners(engine: str, precision: str) -> Runners:
    """Makes the runners of an engine; VFL0613 where a file holds no such graph, VFL0691 where it has none."""
    record = find_engine(engine)
    if record.runners is None:
        raise Failure("VFL0691", f"the engine {engine!r} does not run models over populations")
    try:
        with ENGINES.using(engine, Failure):
            return cast(Runners, record.runners(precision))
    except BrokenPlugin as broken:
        raise unusable(broken) from broken


def onnx_runners(precision: str) -> Runners:
    """Those of onnxruntime."""
    return partial(OnnxRunner, precision=precision)


class OnnxRunner:
    """A graph on onnxruntime, in one thread."""

    def __init__(self, graph: PopulationGraph, precision: str) -> None:
        self.graph = graph
        try:
            loaded = session(self_contained(graph.content, graph.path), 1, precision == "float64")
        except onnx_errors() as error:
            raise damaged(f"{graph.path} cannot be loaded: {short(error)}") from None
        found = {i.name for i in loaded.inputs_meta}, {o.name for o in loaded.outputs_meta}
        if found != (set(graph.inputs), set(graph.outputs)):
            raise damaged(f"{graph.path} has other inputs or outputs than plan.json declares")
        self._run = loaded.run_with_ort_values
        self._outputs = list(graph.outputs)

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """See `Runner`."""
        feeds = {name: ort_value(values[name]) for name in self.graph.inputs}
        try:
            made = self._run(feeds, self._outputs, None)
        except onnx_errors() as error:
            raise damaged(f"{self.graph.path} cannot run: {short(error)}") from None
        return {name: made[index].numpy() for index, name in enumerate(self._outputs)}
