"""A model of another tool, run by onnxruntime as it is: numbers in, numbers out, whatever the engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.onnx_usable import RowSignature, usable
from vflc_common.onnx_wire import OnnxFileError

from vflc_runtime.bundle.plan import Plan
from vflc_runtime.bundle.reading import damaged
from vflc_runtime.engines.onnx_session import PARALLEL_ROWS, onnx_errors, session, short


class OutsideRuns:
    """Makes what runs the files of a plan; values that one file gives share its sessions."""

    def __init__(self, plan: Plan, threads: int) -> None:
        self._plan, self._threads = plan, threads
        self._files: dict[str, OutsideFile] = {}

    def of(self, graph: str) -> OutsideRun | None:
        """What runs a graph; None where it is one of vflc's own.

        Raises:
            Failure: VFL0613, its file may not be used, or is not what the plan says.
        """
        entry = self._plan.graphs[graph]
        if entry.outside is None:
            return None
        name = str(entry.file)
        if name not in self._files:
            content, path = self._plan.graph_content(graph), self._plan.graph_path(graph)
            self._files[name] = OutsideFile(content, path, self._threads)
        return OutsideRun(self._plan, graph, self._files[name])


class OutsideRun:
    """One value that a file gives."""

    def __init__(self, plan: Plan, graph: str, file: OutsideFile) -> None:
        entry = plan.graphs[graph]
        assert entry.outside is not None
        self._file, self._precision = file, plan.precision
        signature = file.signature
        shapes = tuple(tuple(port.sizes for port in ports) for ports in (signature.inputs, signature.outputs))
        if shapes != (entry.outside.inputs, entry.outside.outputs):
            raise damaged(f"{plan.graph_path(graph)} has other inputs or outputs than plan.json declares")
        self.inputs, self.output = entry.inputs, entry.outputs[0]
        self._output = entry.outside.output

    def __call__(self, values: list[Array], rows: int) -> Array:
        """The value for a batch, [rows, …] in the plan's precision; `values` are `inputs`, [rows, …]."""
        return self._file.run(values, self._output, rows).astype(self._precision)


class OutsideFile:
    """A file and its sessions: small batches run on one thread, as in `GraphSession`. `path` is for messages.

    Raises:
        Failure: VFL0613, it may not be used.
    """

    def __init__(self, content: bytes, path: Path | str, threads: int) -> None:
        self._content, self._path, self._threads = content, path, threads
        self._sessions: dict[bool, Any] = {}
        try:
            self.signature: RowSignature = usable(self._content)[1]
        except OnnxFileError as wrong:
            raise damaged(f"{self._path} cannot be used: {wrong.message}") from None

    def run(self, values: Sequence[Array], output: int, rows: int) -> Array:
        """The output of that number for a batch: [batch, …], of at least one axis a row."""
        port = self.signature.outputs[output]
        feeds = {
            each.name: _converted(value.reshape(rows, *each.sizes), each.element)
            for each, value in zip(self.signature.inputs, values, strict=True)
        }
        try:
            (made,) = self._session(rows).run([port.name], feeds, None)
        except onnx_errors() as error:
            raise damaged(f"{self._path} cannot run: {short(error)}") from None
        if made.shape != (rows, *port.sizes):
            raise damaged(f"{self._path} gives {port.name!r} of shape {list(made.shape)} for {rows} rows")
        return np.asarray(made).reshape(rows, *(port.sizes or (1,)))

    def _session(self, rows: int) -> Any:
        parallel = rows >= PARALLEL_ROWS and self._threads > 1
        if parallel not in self._sessions:
            self._sessions[parallel] = session(self._content, self._threads if parallel else 1, bounded=True)
        return self._sessions[parallel]


def _converted(value: Array, element: str) -> Array:
    """Numbers as the file takes them; whole ones are the nearest."""
    return np.ascontiguousarray(np.rint(value) if element.startswith("int") else value, element)
