"""Runs graphs and single ops in numpy, onnxruntime and Keras, for the tests of this folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from vflc.emit.onnx.writer import OnnxGraphWriter
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.types import ROWS, Axis, TensorType
from vflc.ops import FUNCTIONS, OPS, infer

BATCH, UNKNOWN = 5, 4
"""Sizes that stand in for the batch axis and for other axes that only a run knows."""


def call(name, *arguments, **named):
    """Applies a function of the language."""
    return FUNCTIONS[name].expand(*arguments, **named)


def build() -> Build:
    return Build(Graph(), infer)


def value(b: Build, name: str, *axes, dtype="float") -> Node:
    """An input of the graph: axes are sizes or (name, size); a leading None is the batch axis."""
    made = [
        ROWS if i == 0 and a is None else Axis(*a) if isinstance(a, tuple) else Axis(None, a)
        for i, a in enumerate(axes)
    ]
    attrs = {"party": "p", "name": name, "kind": "number", "rows": None}
    return b.graph.add(
        Node(name, "feature", (), attrs, TensorType(tuple(made), dtype), frozenset({SecretSource("p", name)}))
    )


def feature(b: Build, name: str, kind: str, rows: int | None = None, op: str = "feature") -> Node:
    axes = {"id": (), "ids": (Axis(None, None),), "number": (Axis(None, 1),)}[kind]
    type_ = TensorType((ROWS, *axes), "float" if kind == "number" else "int")
    attrs = {"party": "p", "name": name, "kind": kind, "rows": rows}
    return b.graph.add(Node(name, op, (), attrs, type_, frozenset({SecretSource("p", name, op == "label")})))


def evaluate(graph: Graph, feeds: dict, outputs: list[str], training: bool = True) -> list:
    """The values of `outputs` by the numpy references; `feeds` hold every input by id."""
    values = dict(feeds)
    needed = graph.ancestors(outputs)
    for node in graph:
        if node.id in needed and node.id not in values:
            inputs = [values[name] for name in node.inputs]
            if node.op == "when_training":
                values[node.id] = inputs[0 if training else 1]
            else:
                values[node.id] = OPS[node.op].reference(node, inputs, [graph[x].type for x in node.inputs])
    return [values[name] for name in outputs]


def gradients(b: Build, output: Node, wanted: list[Node]) -> list[Node | None]:
    """Reverse mode over the graph by the ops' own rules; the sum of `output` is differentiated."""
    order = list(b.graph)
    with b.within(phase="backward"):
        totals = {output.id: b.op("expand_like", b.constant(1.0), output)}
        needed = b.graph.ancestors([output.id])
        for node in reversed(order):
            vjp = OPS[node.op].vjp
            if node.id not in needed or node.id not in totals or vjp is None:
                continue
            inputs = b.graph.inputs(node)
            for x, g in zip(inputs, vjp(b, node, inputs, totals[node.id]), strict=True):
                if g is not None:
                    totals[x.id] = b.op("add", totals[x.id], g) if x.id in totals else g
    return [totals.get(x.id) for x in wanted]


def differences(graph: Graph, feeds: dict, output: Node, wanted: Node, step: float = 1e-5) -> np.ndarray:
    """Central finite differences of the sum of `output` in float64."""

    def total(at: np.ndarray) -> float:
        return float(np.sum(evaluate(graph, {**feeds, wanted.id: at}, [output.id])[0]))

    start = np.asarray(feeds[wanted.id], np.float64)
    slopes = np.zeros_like(start)
    for index in np.ndindex(*start.shape):
        shift = np.zeros_like(start)
        shift[index] = step
        slopes[index] = (total(start + shift) - total(start - shift)) / (2 * step)
    return slopes


def run_onnx(graph: Graph, feeds: dict, outputs: list[str], double: bool) -> list[np.ndarray]:
    """The values of `outputs` by onnxruntime in one thread."""
    import onnxruntime

    model, needed = onnx_model(graph, feeds, outputs, double), graph.ancestors(outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    kind = np.float64 if double else np.float32
    cast = {k: v.astype(kind) if v.dtype.kind == "f" else v for k, v in feeds.items() if k in needed}
    return session.run(list(outputs), cast)


def onnx_model(graph: Graph, feeds: dict, outputs: list[str], double: bool):
    """The graph in ONNX from what is fed to `outputs`."""
    writer, names, needed = OnnxGraphWriter(double), {}, graph.ancestors(outputs)
    for node in graph:
        if node.id not in needed:
            continue
        if node.id in feeds:
            names[node.id] = node.id
            continue
        inputs = [names[x] for x in node.inputs]
        names[node.id] = OPS[node.op].onnx(writer, node, inputs, [graph[x].type for x in node.inputs])
    return writer.finish(
        "test",
        {name: graph[name].type for name in feeds if name in needed},
        {name: (names[name], graph[name].type) for name in outputs},
    )


@dataclass
class Keras:
    """What a Keras lowering may use."""

    ops: object
    float_dtype: str


def keras(float_dtype: str = "float64") -> Keras:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    import keras

    return Keras(keras.ops, float_dtype)


def run_keras(graph: Graph, feeds: dict, outputs: list[str], tensors: dict | None = None) -> list:
    """The values of `outputs` by keras.ops in float64; `tensors` replace feeds (symbolic ones, say)."""
    k, needed = keras(), graph.ancestors(outputs)
    values = dict(tensors) if tensors else {n: k.ops.convert_to_tensor(v) for n, v in feeds.items()}
    for node in graph:
        if node.id in needed and node.id not in values:
            inputs = [values[x] for x in node.inputs]
            values[node.id] = OPS[node.op].keras(k, node, inputs, [graph[x].type for x in node.inputs])
    return [values[name] for name in outputs]


def sample_case(op: str, sample, rng) -> SimpleNamespace:
    """A graph of one op, and values for its inputs in float64."""
    b = build()
    attrs = {"party": "p", "name": "x", "kind": "number", "rows": None}
    inputs = [b.graph.add(Node(f"x{i}", "feature", (), attrs, t)) for i, t in enumerate(sample.types)]
    node = b.op(op, *inputs, **sample.attrs)
    drawn = sample.values(rng) if sample.values else tuple(_draw(t, rng) for t in sample.types)
    feeds = {x.id: np.asarray(v) for x, v in zip(inputs, drawn, strict=True)}
    return SimpleNamespace(build=b, graph=b.graph, inputs=inputs, node=node, feeds=feeds)


def _draw(type_: TensorType, rng) -> np.ndarray:
    shape = [a.size if a.size is not None else BATCH if a.name == "batch" else UNKNOWN for a in type_.axes]
    if type_.dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if type_.dtype == "int":
        return rng.integers(-1, 3, shape).astype(np.int32)
    return np.asarray(rng.normal(size=shape))
