"""ONNX models made here, run by onnxruntime, and by the specs that they are imported to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from importing_testing import Array, Owned, inputs
from onnx import TensorProto, helper, numpy_helper
from vflc_runtime.bundle.slices import cut
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.importing.run import WrittenSpec, import_model, weights_of

Types = Mapping[str, Sequence[Any]]
"""Of an input its element type, `float`, `int64` or `string`, and the axes of a row."""
KINDS = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64, "string": TensorProto.STRING}


def node(op: str, reads: str, makes: str, **attrs: Any) -> onnx.NodeProto:
    """A node by the names of what it reads and makes, with blanks between; `-` is an input left out."""
    given = ["" if name == "-" else name for name in reads.split()]
    return helper.make_node(op, given, makes.split(), **attrs)


def model(
    given: Types, outputs: Sequence[str], nodes: Sequence[onnx.NodeProto], weights: Mapping[str, Any],
    batch: Any = "batch", opset: int = 20, producer: str = "",
) -> onnx.ModelProto:  # fmt: skip
    """A model of nodes in order."""
    ports = [
        helper.make_tensor_value_info(name, KINDS[kind], [batch, *axes])
        for name, (kind, *axes) in given.items()
    ]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, None]) for name in outputs]
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", ports, made, held)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], producer_name=producer, ir_version=10
    )


def write(folder: Path, made: onnx.ModelProto) -> Path:
    onnx.checker.check_model(made)
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def session(spec: WrittenSpec, path: Path, folder: Path, precision: str = "float32") -> Session:
    """The spec compiled, with the weights of the file."""
    compile_source(SourceText("imported.vfl", spec.text), precision=precision).write(folder)
    made = Session(folder, threads=1)
    held = {name: array.astype(precision) for name, array in weights_of(path, spec).items()}
    for engine in made.engines.values():
        parts = cut(engine.plan, held)
        engine.load({name: part.reshape(engine.plan.weights[name].shape) for name, part in parts.items()})
    return made


def both(
    path: Path, owners: Owned, labels: Owned, table: Mapping[str, Any], folder: Path
) -> tuple[WrittenSpec, list[Array], list[Array]]:
    """The spec, what it predicts, and the outputs of the file.

    `table` has the columns of all parties; a vector `x` is its columns `x1`, `x2`, …
    """
    spec = import_model(path, owners, labels)
    made = session(spec, path, folder / "bundle")
    tables = {party: {name: table[name] for name in names} for party, names in owners.items()}
    rows = len(next(iter(table.values())))
    for party, names in labels.items():
        tables.setdefault(party, {}).update({name: np.arange(rows) % 2 for name in names})
    found = made.predict(inputs(made, tables, folder))
    wanted = onnxruntime.InferenceSession(path).run(None, given(path, table))
    return spec, [np.asarray(found[name]) for names in labels.values() for name in names], wanted


def given(path: Path, table: Mapping[str, Any]) -> dict[str, Array]:
    """The inputs of the file from the columns of a table."""
    found = {}
    for port in onnx.load(path).graph.input:
        axes = [d.dim_value for d in port.type.tensor_type.shape.dim][1:]
        kind = {1: "float32", 7: "int64", 8: "object"}[port.type.tensor_type.elem_type]
        if axes and axes[0] > 1:
            value = np.stack([table[f"{port.name}{i + 1}"] for i in range(axes[0])], 1)
        else:
            value = np.asarray(table[port.name]).reshape(-1, *axes)
        found[port.name] = value.astype(kind)
    return found
