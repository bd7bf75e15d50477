"""Vector features through files, files that our own exports wrote, and one file under two names."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from making import PARTIES, REST, bundle, encoder, expected, model, value, written
from onnx import helper
from test_outside_expanded import layers
from test_outside_exports import tables
from test_outside_runs import given
from vflc_runtime.bundle.folder import open_bundle
from vflc_runtime.export.run import export
from vflc_runtime.run.session import Session
from vflc_runtime.run.train import TrainOptions, train

SPEC = """
party alice {
  key ID
  feature Picture: vector(12)
  feature City:    string -> hash(20)
}
party bob {
  key ID
  feature Item:   string -> hash(50)
  column  Rating: int
  label   liked = Rating > 3
}
block Encoder = onnx("encoder.onnx")

e     = Encoder(INPUT)
a     = dense(concat(e, embed(alice.City, dim = 4)), 8)
b     = dense(embed(bob.Item, dim = 4), 8)
logit = dense(tanh(a + b), 1) at bob
predict liked = sigmoid(logit)
objective bce(logit, bob.liked)

release alice { to bob: Picture, City }
release bob { to alice: liked, Item }
train { optimizer sgd(lr = 0.1)  batch 32 }
"""


def fed(rows: int = 9) -> dict[str, Any]:
    draw = np.random.default_rng(5)
    return {
        "alice.Picture": draw.normal(size=(rows, 12)),
        "alice.City": draw.integers(0, 20, rows),
        "bob.Item": draw.integers(0, 50, rows),
        "bob.liked": draw.integers(0, 2, (rows, 1)).astype(float),
    }


@pytest.mark.parametrize("known", [True, False], ids=["expanded", "as it is"])
def test_a_vector_feature_is_read_by_a_file(tmp_path: Path, known: bool) -> None:
    made = layers(width=12) if known else encoder(12)
    written(tmp_path, made)
    session = Session(open_bundle(bundle(tmp_path, SPEC.replace("INPUT", "alice.Picture"))), threads=1)
    session.step(fed())
    graphs = session.bundle.plans["alice"].graphs
    assert ("model.e" in graphs) != known
    if not known:
        due = expected(made, fed()["alice.Picture"].astype(np.float32))[0]
        np.testing.assert_allclose(given(session), due, 1e-5, 1e-5)


def test_an_image_encoder_runs_as_it_is(tmp_path: Path) -> None:
    """A convolution and a pooling, of pixels of three channels."""
    kernel = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    made = model(nodes, [value("x", "n", 3, 2, 2)], [value("y", "n", 4)], {"w": kernel})
    written(tmp_path, made)
    spec = SPEC.replace("INPUT", "reshape(alice.Picture, 3, 2, 2)")
    session = Session(open_bundle(bundle(tmp_path, spec)), threads=1)
    session.step(fed())
    due = expected(made, fed()["alice.Picture"].astype(np.float32).reshape(-1, 3, 2, 2))[0]
    np.testing.assert_allclose(given(session), due, 1e-5, 1e-5)


def test_one_file_under_two_names(tmp_path: Path) -> None:
    path = written(tmp_path, encoder(12))
    shutil.copy(path, tmp_path / "copy.onnx")
    spec = SPEC.replace("INPUT", "alice.Picture").replace(
        "e     = ", 'block Copy = onnx("copy.onnx")\ne = concat(Copy(alice.Picture), f)\nf     = '
    )
    session = Session(open_bundle(bundle(tmp_path, spec)), threads=1)
    session.step(fed())
    np.testing.assert_array_equal(given(session, "f"), given(session, "e.Copy.onnx"))


@pytest.mark.parametrize("trainable", ["", ", trainable = true"], ids=["frozen", "trained"])
def test_what_our_own_export_wrote_is_a_block(tmp_path: Path, trainable: str) -> None:
    """The end of a trained model, which bob has, becomes a piece of another at alice."""
    first = tmp_path / "first"
    first.mkdir()
    rest = REST.replace("b     = dense(embed(bob.Item, dim = 4), 8)\n", "").replace("tanh(a + b)", "tanh(a)")
    rest = rest.replace("concat(e, embed(alice.City, dim = 4))", "concat(alice.numbers)")
    sources: Any = tables(first)
    train(bundle(first, PARTIES + rest), sources, first / "run", TrainOptions(epochs=1))
    export(first / "run", first / "out", sources=sources)
    (path,) = (first / "out" / "bob").glob("*.onnx")
    shutil.copy(path, tmp_path / "encoder.onnx")
    spec = SPEC.replace("vector(12)", "vector(8)").replace("INPUT", "alice.Picture")
    spec = spec.replace('"encoder.onnx"', f'"encoder.onnx"{trainable}')
    session = Session(open_bundle(bundle(tmp_path, f"{spec}predict made = e\n")), threads=1)
    rows = fed() | {"alice.Picture": fed()["alice.Picture"][:, :8]}
    made = session.predict({name: array for name, array in rows.items() if name != "bob.liked"})["made"]
    due = expected(onnx.load(path), rows["alice.Picture"].astype(np.float32))[0]
    np.testing.assert_allclose(made, due, 1e-5, 1e-6)
    weights = session.engines["alice"].weights()
    assert any(name.startswith("e.") and name.endswith("kernel") for name in weights), list(weights)
