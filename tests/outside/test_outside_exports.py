"""Exports of models with files of other tools in them, and runs that a user makes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import SPEC, bundle, encoder, model, value, written
from onnx import TensorProto, helper
from vflc_runtime.errors import Failure
from vflc_runtime.export.run import export
from vflc_runtime.run.predict import predict
from vflc_runtime.run.train import TrainOptions, train

ROWS = 120


def tables(folder: Path) -> dict[str, str]:
    draw = np.random.default_rng(4)
    ids = [f"r{index}" for index in range(ROWS)]
    alice = {"ID": ids, "Age": draw.normal(40, 9, ROWS), "Income": draw.normal(3, 1, ROWS),
             "City": [f"c{n}" for n in draw.integers(0, 9, ROWS)]}  # fmt: skip
    bob = {"ID": ids, "Item": [f"i{n}" for n in draw.integers(0, 30, ROWS)], "Price": draw.normal(size=ROWS),
           "Rating": draw.integers(1, 6, ROWS)}  # fmt: skip
    for name, table in (("alice", alice), ("bob", bob)):
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return {name: str(folder / f"{name}.parquet") for name in ("alice", "bob")}


def run(folder: Path, engine: str = "onnx") -> dict[str, str]:
    sources: Any = tables(folder)
    built = bundle(folder, backends=("onnx", "keras") if engine == "keras" else ("onnx",))
    train(built, sources, folder / "run", TrainOptions(epochs=2, engine=engine))
    return sources


@pytest.mark.parametrize("merged", [False, True], ids=["each", "merged"])
@pytest.mark.parametrize("opset", [18, 13])
def test_an_export_has_the_file_in_it(tmp_path: Path, merged: bool, opset: int) -> None:
    made = encoder()
    if opset == 13:  # where axes of a reduction are no input yet
        made = encoder()
        made.graph.node[1].op_type = "Tanh"
        made.graph.node[2].CopyFrom(helper.make_node("ReduceMean", ["m"], ["mean"], axes=[0], keepdims=1))
        made.opset_import[0].version = opset
    written(tmp_path, made)
    sources = run(tmp_path)
    exported = export(tmp_path / "run", tmp_path / "out", merged=merged, sources=sources)  # compares on rows
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.onnx")}
    assert names == set(exported.models)
    assert merged or "alice/model.e.onnx" in names
    for name in names:
        onnxruntime.InferenceSession(tmp_path / "out" / name, providers=["CPUExecutionProvider"])


def test_values_of_other_types_and_shapes_are_exported(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.DOUBLE),
        helper.make_node("ReduceSum", ["f", "last"], ["y"], keepdims=0),
    ]
    ports = [value("x", "n", 2, element=TensorProto.INT64)], [value("y", "n", element=TensorProto.DOUBLE)]
    written(tmp_path, model(nodes, *ports, {"last": np.array([1])}))
    export(tmp_path / "run", tmp_path / "out", merged=True, sources=run(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed")
def test_a_keras_file_cannot_hold_it(tmp_path: Path) -> None:
    written(tmp_path)
    run(tmp_path, "keras")
    with pytest.raises(Failure) as found:
        export(tmp_path / "run", tmp_path / "out", format="keras")
    assert found.value.code == "VFL0509" and "'e'" in found.value.message
    assert not (tmp_path / "out").exists()


def test_a_run_is_resumed_and_predicts(tmp_path: Path) -> None:
    written(tmp_path)
    sources: Any = run(tmp_path)
    train(None, sources, tmp_path / "run", TrainOptions(epochs=3, resume=True))
    built = bundle(tmp_path, to="again")
    train(built, sources, tmp_path / "whole", TrainOptions(epochs=3))
    for folder in ("run", "whole"):
        predict(tmp_path / folder, sources, tmp_path / f"{folder}.parquet", threads=1)
    assert (tmp_path / "run.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    kept = json.loads((tmp_path / "run" / "bundle" / "manifest.json").read_text())
    assert kept["models"][0]["path"] == "encoder.onnx" and 'onnx("encoder.onnx")' in SPEC
