"""ONNX files that the tests of this folder make, and a spec of two parties that uses one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.emit.bundle import Bundle

PARTIES = """
party alice {
  key ID
  feature Age:    float  -> standardize
  feature Income: float  -> standardize
  feature City:   string -> hash(20)
}
party bob {
  key ID
  feature Item:   string -> hash(50)
  feature Price:  float -> standardize
  column  Rating: int
  label   liked = Rating > 3
}
"""
REST = """
a     = dense(concat(e, embed(alice.City, dim = 4)), 8)
b     = dense(embed(bob.Item, dim = 4), 8)
logit = dense(tanh(a + b), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)

release alice { to bob: Age, Income, City }
release bob { to alice: liked, Item }
train { optimizer sgd(lr = 0.1)  batch 32 }
"""
ENCODER = 'block Encoder = onnx("encoder.onnx")\n'
SPEC = f"{PARTIES}\n{ENCODER}e = Encoder(concat(alice.numbers))\n{REST}"


def value(name: str, *sizes: int | str | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, sizes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, Any] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "made", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def encoder(width: int = 2, out: int = 3, seed: int = 0) -> onnx.ModelProto:
    """From [n, width] to the mean over the batch, added to a nonlinear layer: rows mix."""
    kernel = np.random.default_rng(seed).normal(size=(width, out)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Mish", ["h"], ["m"]),
        helper.make_node("ReduceMean", ["m", "rows"], ["mean"], keepdims=1),
        helper.make_node("Add", ["m", "mean"], ["y"]),
    ]
    weights = {"w": kernel, "rows": np.array([0])}
    return model(nodes, [value("x", "n", width)], [value("y", "n", out)], weights)


def expected(made: onnx.ModelProto, *inputs: Any) -> list[Any]:
    """What a file gives, by onnx's own reference implementation."""
    from onnx.reference import ReferenceEvaluator

    names = [each.name for each in made.graph.input]
    return ReferenceEvaluator(made).run(None, dict(zip(names, inputs, strict=True)))


def written(folder: Path, made: onnx.ModelProto | None = None, name: str = "encoder.onnx") -> Path:
    """The file of a model in a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((made or encoder()).SerializeToString())
    return path


def compiled(folder: Path, spec: str = SPEC, **options: Any) -> Bundle:
    """The bundle of a spec that lies in a folder."""
    return compile_source(SourceText(str(folder / "model.vfl"), spec), folder, **options)


def bundle(folder: Path, spec: str = SPEC, to: str = "build", **options: Any) -> Path:
    """The same, written below the folder."""
    compiled(folder, spec, **options).write(folder / to)
    return folder / to
