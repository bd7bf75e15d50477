"""The Keras engine with XLA: the same numbers, what XLA cannot compile, and the switch."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from granting import granted
from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.engines.keras_xla import by_xla, wanted
from vflc_runtime.errors import Failure
from vflc_runtime.run.session import Session
from vflc_runtime.run.settings import bits

from vflc.diagnostics import SourceText
from vflc.driver import compile_source

pytestmark = [
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SPEC = """
party a { key k
  feature i: int -> index(4)
  feature x: float }
party b { key k
  label y: int }
e = embed(a.i, dim = 2)
h = relu(dense(concat(flatten(e), a.x), 3))
fuse at b { logit = dense(h, 1) }
predict y = sigmoid(logit)
objective bce(logit, b.y)
train { optimizer adam(lr = 0.1)
  batch 4 }
"""


def trained(bundle: Path, engine: str) -> Session:
    """After two whole batches and a smaller one."""
    session, numbers = Session(bundle, engine, seed=3), np.random.default_rng(3)
    for rows in (4, 4, 3):
        inputs = {
            "a.i": numbers.integers(0, 4, rows).astype(np.int32),
            "a.x": numbers.normal(size=(rows, 1)),
            "b.y": numbers.integers(0, 2, (rows, 1)).astype(float),
        }
        session.step(inputs, rows)
    return session


def test_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = SourceText("xla.vfl", granted(SPEC))
    compile_source(source, precision="float64", backends=("onnx", "keras")).write(tmp_path)
    without = trained(tmp_path, "onnx").weights()
    monkeypatch.setenv("VFLC_XLA", "on")
    with caplog.at_level(logging.INFO, "vflc_runtime.xla"):
        found = trained(tmp_path, "keras").weights()
    said = {record.getMessage() for record in caplog.records}
    assert said == {
        "XLA compiles the graph 'forward' of a",
        "XLA compiles the graph 'backward' of b",
        "XLA compiles the optimizer 'update_adam'",
    }
    for name, weight in found.items():
        np.testing.assert_allclose(weight, without[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("persistent", [None, False, True])
def test_what_xla_cannot_compile_runs_without_it(
    persistent: bool | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A function, or, where a tape watches it, its gradient alone, that calls Python."""
    monkeypatch.setenv("VFLC_XLA", "on")
    tf = tensorflow().tf

    def in_python(x: Any) -> Any:
        return tf.numpy_function(lambda each: each, [x], tf.float64)

    @tf.custom_gradient  # type: ignore[untyped-decorator,unused-ignore]
    def backward_in_python(x: Any) -> Any:
        return x * 2, in_python

    body = in_python if persistent is None else backward_in_python
    function = tf.function(
        lambda x: [body(x)], autograph=False, input_signature=[tf.TensorSpec((None,), tf.float64)]
    )
    assert by_xla("this part", function, [tf.ones(2, tf.float64)], persistent) is function
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("XLA cannot compile this part, which runs without it: ")


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's bits depend on it; what it cannot be is refused."""
    monkeypatch.delenv("VFLC_XLA", raising=False)
    assert not wanted() and "XLA" not in bits({}, "keras", 1)["versions"]
    monkeypatch.setenv("VFLC_XLA", "on")
    assert wanted() and "XLA" in bits({}, "keras", 1)["versions"]
    assert "XLA" not in bits({}, "onnx", 1)["versions"]
    monkeypatch.setenv("VFLC_XLA", "yes")
    with pytest.raises(Failure, match="VFLC_XLA is 'yes' in the environment") as refused:
        wanted()
    assert refused.value.code == "VFL0792"
