"""Trains one spec with both engines, for the tests of this folder."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiler.random_specs import batch
from granting import granted
from vflc_runtime.export.loads import main
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.emit.bundle import Bundle

needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="TensorFlow is not installed: pip install 'vflc[keras]'"
)
Inputs = dict[str, np.ndarray[Any, Any]]

TABLES = """
party alice {
  key ID
  feature a: int -> index(5)
  feature g: string -> split(" ") -> hash(6)
  feature n: float
}
party bob {
  key ID
  feature b: int -> index(5)
  column target: float
  label y = target > 0
}
party hub {}
"""
END = """
predict y = sigmoid(logit)
objective bce(logit, bob.y)
train { optimizer adam(lr = 0.01)
 batch 8 }
"""


@functools.cache
def compiled(text: str, precision: str = "float64", unsplit: bool = False) -> Bundle:
    return compile_source(
        SourceText("tested.vfl", granted(text)),
        precision=precision,
        unsplit=unsplit,
        backends=("onnx", "keras"),
    )


def encoders(bundle: Bundle) -> dict[str, Any]:
    """The encoders of all places."""
    parties: dict[str, Any] = {}
    for place in bundle.manifest["places"]:
        parties |= json.loads(bundle.files[f"{place}/encoders.json"])["parties"]
    return {"parties": parties}


def both(
    text: str,
    folder: Path,
    steps: int = 4,
    precision: str = "float64",
    make: Callable[[int, int], Inputs] | None = None,
) -> tuple[Session, Session, Inputs]:
    """Sessions of the Keras and the onnx engine after the same steps, and a batch for predictions."""
    bundle = compiled(text, precision)
    bundle.write(folder / "bundle")
    described = encoders(bundle)
    make = make or (lambda rows, seed: batch(described, rows, seed))
    sessions = [Session(folder / "bundle", engine, seed=3, threads=1) for engine in ("keras", "onnx")]
    close = 1e-9 if precision == "float64" else 1e-4
    for step in range(steps):
        inputs = make(5 if step == 2 else 7, step)
        losses = [session.step(inputs).loss for session in sessions]
        assert abs(losses[0] - losses[1]) <= close, f"loss of step {step + 1}: {losses}"
    return sessions[0], sessions[1], make(7, 99)


def assert_equal(text: str, folder: Path, **options: Any) -> None:
    """Both engines end with the same weights, slots, losses and predictions in float64."""
    keras, onnx, inputs = both(text, folder, **options)
    _same(keras.weights(), onnx.weights())
    for place, engine in onnx.engines.items():
        _same_slots(keras.engines[place].slots(), engine.slots())
    _same(keras.predict(inputs), onnx.predict(inputs))
    assert keras.evaluate(inputs).loss == pytest.approx(onnx.evaluate(inputs).loss, abs=1e-9)
    assert keras.sent() == onnx.sent()


def _same(mine: dict[str, Any], other: dict[str, Any]) -> None:
    assert mine.keys() == other.keys()
    for name, array in other.items():
        np.testing.assert_allclose(mine[name], array, rtol=0, atol=1e-9, err_msg=name)


def _same_slots(mine: dict[str, Any], other: dict[str, Any]) -> None:
    """Slots are as old as their row, and an engine may have brought rows up to date that another has not."""
    assert mine.keys() == other.keys()
    alike = {name: mine[name] == other[name] for name in mine if name.endswith("/last")}
    for name, array in other.items():
        rows = alike.get(f"{name.rpartition('/')[0]}/last", slice(None))
        if name not in alike:
            np.testing.assert_allclose(mine[name][rows], array[rows], rtol=0, atol=1e-9, err_msg=name)
    assert all(rows.any() for rows in alike.values())


def loaded_here(arguments: list[str], folder: str) -> None:
    """What `_load_elsewhere` does, but for the process of its own, which loads TensorFlow again."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("vflc", "vflc_runtime"):
            patch.setitem(sys.modules, name, sys.modules[name])
        for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"):
            patch.setenv(name, "")
        patch.setattr(sys, "path", sys.path)
        main(*arguments)
