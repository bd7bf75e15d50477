"""A subgraph in onnxruntime, called without its Python wrapper: a tenth of a small step's time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime
import vflc_kernels
from onnxruntime.capi import onnxruntime_pybind11_state as native
from vflc_common.arrays import Array

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.kernels import narrow, refuse_own_operators, with_kernels
from vflc_runtime.engines.onnx_memory import sized_by_data, unjoined
from vflc_runtime.memory import half_of_memory

if TYPE_CHECKING:
    import onnx

if os.environ["ORT_DISABLE_TELEMETRY"] == "1":
    onnxruntime.disable_telemetry_events()  # where a program imported it before vflc

PARALLEL_ROWS = 64
"""Rows of a batch from which on an operator uses several threads."""
OrtValues = dict[str, Any]
"""Values by id."""
CPU = native.OrtDevice(native.OrtDevice.cpu(), native.OrtDevice.default_memory(), 0)


def ort_value(array: Array) -> Any:
    """An OrtValue that shares the memory of a contiguous array [*shape], which the caller must keep alive."""
    return native.OrtValue.ortvalue_from_numpy(array, CPU)


def session(
    model: bytes,
    threads: int,
    double: bool = False,
    bounded: bool = False,
    library: str | None = None,
    pooled: int = 0,
) -> Any:
    """The native session of a serialised model, which may use the operators of a `library`.

    What a `bounded` one computes lies, with that of all other bounded ones, in half of the machine's memory.
    The library's operators are shared out by `pooled` threads, which all sessions of the process have in
    common; by the session's own where it is 0.

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
    if library is not None:
        options.register_custom_ops_library(library)
    if bounded:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    if double:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with vflc_kernels.pooled(pooled) if library is not None else nullcontext():
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])._sess


@cache
def _register_arena() -> None:
    """The one arena of this process that its sessions can share; a process has one for good."""
    kind, use = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    bound = onnxruntime.OrtArenaCfg(half_of_memory(), -1, -1, -1)
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", kind, 0, use), bound)


def load(plan: Plan, graph: str, threads: int, model: onnx.ModelProto | None = None) -> Any:
    """The session of a plan's graph, as `read_model` gives it or as it was changed since."""
    model = model or read_model(plan, graph)
    try:
        return own_session(model, threads, plan.precision, narrow(plan, graph))
    except onnx_errors() as error:
        raise damaged(f"{plan.graph_path(graph)} cannot be loaded: {short(error)}") from None


def own_session(model: onnx.ModelProto, threads: int, precision: str, bfloat16: bool = False) -> Any:
    """The session of a graph that vflc emitted or put together, with our operators where they are faster.

    Its threads are those that all sessions share, unless onnxruntime's own operators need some: its threads
    would have to be woken in each session, and share out what one does as fast.
    """
    made = with_kernels(model, bfloat16)
    double = precision == "float64"
    if made.shared:
        return session(made.content, threads, double, library=made.library)
    return session(made.content, 1, double, library=made.library, pooled=threads)


def load_series(plan: Plan, graph: str) -> Callable[[Array], dict[str, Array]]:
    """A graph from steps [n] to series [n] by name, in float64 whatever the plan's precision is."""
    loaded = session(read_model(plan, graph).SerializeToString(), 1, double=True)
    names = plan.graphs[graph].outputs

    def series(steps: Array) -> dict[str, Array]:
        made = loaded.run_with_ort_values({"step": ort_value(steps)}, list(names), None)
        return {name: made[index].numpy() for index, name in enumerate(names)}

    return series


def read_model(plan: Plan, graph: str) -> onnx.ModelProto:
    """A plan's graph, whose inputs and outputs must be those that the plan names."""
    import onnx

    path, declared = plan.graph_path(graph), plan.graphs[graph]
    model = onnx.load_model_from_string(self_contained(plan.graph_content(graph), path))
    for found, due in ((model.graph.input, declared.inputs), (model.graph.output, declared.outputs)):
        if {each.name for each in found} != set(due):
            raise damaged(f"{path} has other inputs or outputs than plan.json declares")
    return model


def self_contained(content: bytes, path: Path) -> bytes:
    """A file's bytes, unless they refer to data outside of it; `path` is for messages."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise damaged(f"{path} is not an ONNX model: {short(error)}") from None
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        raise damaged(f"{path} keeps data outside of the bundle")
    refuse_own_operators(model, path)
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

    As long as inputs keep their shapes a run writes its outputs where the last one did: nothing is
    allocated, the memory is in the cache, and what did not move is not handed over once more.

    Args:
        homes: flat buffers [size] for outputs that are wanted there. Where such an output is put together
            of pieces each of them is made in its place.
    """

    def __init__(self, plan: Plan, graph: str, threads: int, homes: Mapping[str, Array]) -> None:
        self._plan, self._graph, self._threads = plan, graph, threads
        self._inputs = plan.graphs[graph].inputs
        self._model = read_model(plan, graph)
        self._loose = sized_by_data(self._model.graph)
        homes = {name: homes[name] for name in plan.graphs[graph].outputs if name in homes}
        self._pieces = [(home, unjoined(self._model.graph, name)) for name, home in homes.items()]
        self._home = {name: ort_value(home) for name, home in homes.items()}
        self._outputs = [each.name for each in self._model.graph.output]
        self._sessions: dict[bool, Any] = {}
        self._bound: dict[bool, _Bound] = {}
        self._load(threads > 1)

    def _load(self, parallel: bool) -> Any:
        threads = self._threads if parallel else 1
        loaded = self._sessions[parallel] = load(self._plan, self._graph, threads, self._model)
        return loaded

    def run(self, values: dict[str, Any], rows: int) -> None:
        """Takes inputs from `values` and puts outputs there, for a batch of `rows` rows."""
        parallel = rows >= PARALLEL_ROWS and self._threads > 1
        given = [values[name] for name in self._inputs]
        bound = self._bound.get(parallel)
        try:
            if bound is None or not bound.run(given):
                session = self._sessions.get(parallel) or self._load(parallel)
                bound = _Bound(session, self._inputs, given, self._outputs, self._pieces, self._loose)
                self._bound[parallel] = bound
        except onnx_errors() as error:
            place = self._plan.place
            raise damaged(f"graph {self._graph!r} of {place!r} cannot run: {short(error)}") from None
        values.update(bound.made)
        values.update(self._home)


class _Bound:
    """A session and the values it reads and writes. It runs when it is made."""

    __slots__ = ("_binding", "_given", "_inputs", "_loose", "_session", "_shapes", "made")

    def __init__(
        self,
        session: Any,
        inputs: tuple[str, ...],
        given: list[Any],
        outputs: list[str],
        pieces: list[tuple[Array, list[str]]],
        loose: list[str],
    ) -> None:
        self._session, self._inputs, self._given = session, inputs, given
        self._shapes = [value.shape() for value in given]
        made = session.run_with_ort_values(dict(zip(inputs, given, strict=True)), outputs, None)
        self.made = {name: made[index] for index, name in enumerate(outputs)}
        self._binding = native.SessionIOBinding(session)
        for name, value in zip(inputs, given, strict=True):
            self._binding.bind_ortvalue_input(name, value)
        for home, names in pieces:
            if sum(self.made[name].numpy().size for name in names) != home.size:
                raise damaged(f"a graph gives {' and '.join(names)} of other sizes than their weights")
            self._settle(home, names)
        for name, value in self.made.items():
            if name not in loose:
                self._binding.bind_ortvalue_output(name, value)
        self._loose = {name: index for index, name in enumerate(loose, len(outputs) - len(loose))}

    def _settle(self, home: Array, names: list[str]) -> None:
        """Moves values into their places, one after another in `home`, for this run and all others."""
        start = 0
        for name in names:
            value = self.made.pop(name).numpy()
            part = home[start : start + value.size].reshape(value.shape)
            part[...] = value
            self._binding.bind_ortvalue_output(name, ort_value(part))
            start += value.size

    def run(self, given: list[Any]) -> bool:
        """Runs again, with values in place of those before; False if one has another shape."""
        if given != self._given:
            old, self._given = self._given, given
            for index, value in enumerate(given):
                if value is not old[index]:
                    if value.shape() != self._shapes[index]:
                        return False
                    self._binding.bind_ortvalue_input(self._inputs[index], value)
        for name in self._loose:
            self._binding.bind_output(name, CPU)
        self._session.run_with_iobinding(self._binding, None)
        if self._loose:
            outputs = self._binding.get_outputs()
            self.made.update((name, outputs[index]) for name, index in self._loose.items())
        return True
