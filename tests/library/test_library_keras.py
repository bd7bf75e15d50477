"""Every block of the library: the Keras engine, with TensorFlow's own gradients, ends where onnx ends.

Unsplit, which is half as many graphs; that Keras is split as onnx is: tests/keras_backend, tests/verify.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from library.library_specs import LOGITS, TASKS, rows, spec
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Three steps take less than tracing one; traced, too, is one block: tests/keras_backend."""
    from vflc_runtime.engines.keras_setup import tensorflow

    config = tensorflow().tf.config
    config.run_functions_eagerly(True)
    yield
    config.run_functions_eagerly(False)


PARTS = {
    "AutoIntTop": "AutoInt",
    "FM": "DeepFM",
    "LogisticRegression": "LinearRegression",
    "MF": "BiasedMF",
    "MMoETop": "MMoE",
    "ESMMTop": "ESMM",
    "FiBiNETTop": "FiBiNET",
    "MonotoneTop": "Monotone",
    "PLETop": "PLE",
    "ScorecardTop": "Scorecard",
    "xDeepFMTop": "xDeepFM",
}
"""Blocks that Keras trains in another one, which is made of them."""


@pytest.mark.parametrize("name", [name for name in (*LOGITS, *TASKS) if name not in PARTS])
def test_keras_is_onnx(name: str, tmp_path: Path):
    bundle = compile_source(
        SourceText("library.vfl", spec(name)), precision="float64", unsplit=True, backends=("onnx", "keras")
    )
    bundle.write(tmp_path)
    ours, theirs = (Session(tmp_path, engine, seed=3, programs=("train",)) for engine in ("onnx", "keras"))
    for seed in range(3):
        batch = rows(17, seed, np.float64)
        assert abs(ours.step(batch).loss - theirs.step(batch).loss) < 1e-9
    mine, its = ours.weights(), theirs.weights()
    assert mine.keys() == its.keys()
    assert max(float(np.abs(mine[name] - its[name]).max()) for name in mine) < 1e-9
