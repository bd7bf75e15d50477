"""A subgraph in onnxruntime, called without its Python wrapper: a tenth of a small step's time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from vflc_runtime.plan import Plan
from vflc_runtime.reading import damaged

PARALLEL_ROWS = 64
"""Rows of a batch from which on an operator uses several threads."""
CPU = native.OrtDevice(native.OrtDevice.cpu(), native.OrtDevice.default_memory(), 0)


def ort_value(array: NDArray[Any]) -> Any:
    """An OrtValue that shares the memory of a contiguous array, which the caller must keep alive."""
    return native.OrtValue.ortvalue_from_numpy(array, CPU)


def session(model: bytes, threads: int, double: bool = False) -> Any:
    """The native session of a serialised model.

    Threads spin for a moment between operators and stop when the session's turn is over: sessions
    and other programs share the cores, and a pool that goes on spinning takes them away. With 20 µs
    a step of 128 rows takes a fifth less time than without on idle cores, and no more on busy ones,
    where spinning without end takes three times as long. In float64
    operators are not fused: fused ones (a matrix product with its scale, for one) keep their
    constants in float32, and so are wrong in the eighth digit.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors are raised; there is no need to print them, too
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if double:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])._sess


def load(plan: Plan, graph: str, threads: int) -> Any:
    """The session of a plan's graph, whose inputs and outputs must be those that the plan names."""
    path = plan.graph_path(graph)
    try:
        loaded = session(self_contained(path), threads, plan.precision == "float64")
    except onnx_errors() as error:
        raise damaged(f"{path} cannot be loaded: {short(error)}") from None
    found = ([i.name for i in loaded.inputs_meta], [o.name for o in loaded.outputs_meta])
    declared = plan.graphs[graph]
    if (set(found[0]), set(found[1])) != (set(declared.inputs), set(declared.outputs)):
        raise damaged(f"{path} has other inputs or outputs than plan.json declares")
    return loaded


def self_contained(path: Path) -> bytes:
    """The file's bytes, unless they refer to data outside of it."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise damaged(f"{path} is not an ONNX model: {short(error)}") from None
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        raise damaged(f"{path} keeps data outside of the bundle")
    return content


@cache
def onnx_errors() -> tuple[type[BaseException], ...]:
    """What onnxruntime raises."""
    kinds = (
        "Fail InvalidArgument InvalidGraph InvalidProtobuf NotImplemented RuntimeException EPFail EngineError"
    )
    return (RuntimeError, *(getattr(native, kind) for kind in kinds.split() if hasattr(native, kind)))


def short(error: BaseException) -> str:
    """The first line of what onnxruntime has to say."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


class GraphSession:
    """One graph of a plan, run on a dictionary of values.

    Small batches run on one thread, large ones on all that are given: below some hundred rows
    waking a second thread costs more than it brings. The number of rows alone decides, so that
    the same batch always gives the same bits.
    """

    __slots__ = ("_graph", "_inputs", "_outputs", "_plan", "_runs", "_threads")

    def __init__(self, plan: Plan, graph: str, threads: int) -> None:
        self._plan, self._graph, self._threads = plan, graph, threads
        self._inputs = plan.graphs[graph].inputs
        self._outputs = list(plan.graphs[graph].outputs)
        self._runs: dict[bool, Any] = {}
        self._load(threads > 1)

    def _load(self, parallel: bool) -> Any:
        loaded = load(self._plan, self._graph, self._threads if parallel else 1)
        run = self._runs[parallel] = loaded.run_with_ort_values
        return run

    def run(self, values: dict[str, Any], rows: int) -> None:
        """Takes inputs from `values` and puts outputs there, for a batch of `rows` rows."""
        parallel = rows >= PARALLEL_ROWS and self._threads > 1
        run = self._runs.get(parallel) or self._load(parallel)
        try:
            made = run({name: values[name] for name in self._inputs}, self._outputs, None)
        except onnx_errors() as error:
            place = self._plan.place
            raise damaged(f"graph {self._graph!r} of {place!r} cannot run: {short(error)}") from None
        for index, name in enumerate(self._outputs):
            values[name] = made[index]
