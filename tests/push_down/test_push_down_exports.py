"""What leaves a run whose kernels lie in slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
from onnx import numpy_helper
from push_down.one_table import one_table

import vflc

MODEL = "logit = dense(mlp(flatten(embed(FEATURES, dim = 8)), [4]), 1)"


def trained(folder: Path) -> vflc.Run:
    model = vflc.compile(one_table(MODEL))
    rows = np.arange(128)
    alice = pa.table({"ID": rows, "c0": rows % 5, "c1": rows % 6, "x0": rows / 128})
    bob = alice.append_column("target", pa.array(rows % 3 - 1.0))
    return model.fit({"alice": alice, "bob": bob}, epochs=1, seed=1, out=folder / "run")


def test_a_merged_onnx_model_has_the_whole_kernel(tmp_path: Path) -> None:
    run = trained(tmp_path)
    run.export(tmp_path / "out", merged=True)
    (path,) = (tmp_path / "out").glob("*.onnx")
    tensors = {each.name: each for each in onnx.load(path).graph.initializer}
    kernel = numpy_helper.to_array(tensors["logit.mlp.0.kernel"])
    np.testing.assert_array_equal(kernel, run.weights["logit.mlp.0.kernel"])
    assert kernel.shape == (6 * 8, 4) and not any(name.endswith("kernel.alice") for name in tensors)


def test_a_party_has_its_slice(tmp_path: Path) -> None:
    run = trained(tmp_path)
    run.export(tmp_path / "out")
    tensors = {each.name: each for each in onnx.load(tmp_path / "out/alice/predict.onnx").graph.initializer}
    (name,) = (name for name in tensors if name.endswith("kernel.alice"))
    np.testing.assert_array_equal(
        numpy_helper.to_array(tensors[name]), run.weights["logit.mlp.0.kernel"][: 3 * 8]
    )
