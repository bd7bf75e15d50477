"""The Keras engine against the onnx engine: two independent derivations of one training.

Random specs: tests/verify.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from keras_testing import END, TABLES, assert_equal, both, needs_tensorflow
from library.library_specs import rows, spec
from vflc_runtime.engines import keras_setup
from vflc_runtime.errors import Failure

from vflc.diagnostics import Refused
from vflc.emit.keras.file import import_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOPOLOGIES = {
    # labels return to their owner, the middle is at a hub; running statistics; a penalty at the hub
    "u_shape": """
        x = dense(flatten(embed(alice.features, dim = 3)), 4, activation = tanh)
        z = dense(embed(bob.b, dim = 3), 4, activation = tanh)
        fuse at hub { h = dense(batch_norm(concat(x, z)), 5, activation = tanh) }
        fuse at bob { logit = dense(h, 1) + dense(z, 1) }
        predict y = sigmoid(logit)
        objective bce(logit, bob.y) + l2(0.01, h.weights)
        train { optimizer adam(lr = 0.01)
         batch 8 }""",
    # the hub is passed twice, so its gradients come back at two times
    "twice": """
        x = dense(flatten(embed(alice.features, dim = 3)), 4, activation = tanh)
        z = dense(embed(bob.b, dim = 3), 4, activation = tanh)
        fuse at hub { h = dense(x * z, 5, activation = tanh)
                      q = dense(tanh(p * h), 2) }
        fuse at alice { p = dense(h * dense(x, 5), 5) }
        fuse at bob { logit = dense(concat(h, q), 1) }""",
    # a weight is in two graphs of its place, which has a copy of it in each
    "two stages": """
        w = weight(4)
        x = dense(flatten(embed(alice.features, dim = 3)), 4) * w
        z = dense(embed(bob.b, dim = 3), 4)
        fuse at hub { h = dense(x * z, 4) }
        fuse at alice { p = tanh(h * w) }
        fuse at bob { logit = dense(p, 1) }""",
    # a table of one party that another reads crosses whole, and so does its gradient
    "table across": """
        t = table(5, 3) at alice
        v = table(5, 3) at alice
        u = dense(lookup(t, alice.a) * lookup(v, alice.a), 4)
        fuse at bob { logit = sum(dense(lookup(t, bob.b), 4) * u) }""",
    # one weight in several ops, one table read by ids, whole, and whole without a gradient
    "tied": """
        t = table(5, 3)
        s = table(5, 3)
        w = weight(3)
        e = lookup(t, alice.a) * w + embed(alice.g, dim = 3) * w + lookup(s, alice.a)
        u = sum(e) + sum(square(t)) + sum(stop_gradient(square(s)))
        fuse at bob { logit = u + dense(embed(bob.b, dim = 2), 1) }
        predict y = sigmoid(logit)
        objective bce(logit, bob.y) + 0.5 * mse(sigmoid(logit), bob.y) + l2(0.1, t, w)
        train { optimizer ftrl(lr = 0.05, l1 = 1e-8, l2 = 1e-8, initial = 1.0) for e
         optimizer rmsprop(lr = 0.01, momentum = 0.9)
         clip_norm 0.1
         batch 8 }""",
}


@needs_tensorflow
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_topologies(name: str, tmp_path: Path) -> None:
    text = TOPOLOGIES[name]
    assert_equal(TABLES + text + ("" if "objective" in text else END), tmp_path, steps=5)


@needs_tensorflow
def test_a_block_of_the_library(tmp_path: Path) -> None:
    """The others, unsplit: tests/library."""
    assert_equal(spec("MMoE"), tmp_path, steps=3, make=lambda count, seed: rows(count, seed, np.float64))


@needs_tensorflow
def test_float32_to_rounding_and_weights_and_slots_move_between_engines(tmp_path: Path) -> None:
    rule = "sgd(lr = 0.1, momentum = 0.5)"
    text = TABLES + TOPOLOGIES["twice"] + END.replace("adam(lr = 0.01)", rule)
    keras, onnx, inputs = both(text, tmp_path, precision="float32")
    mine, theirs = keras.weights(), onnx.weights()
    assert all(array.dtype == np.float32 for array in mine.values())
    for name, array in theirs.items():
        np.testing.assert_allclose(mine[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    for place, engine in keras.engines.items():
        other = onnx.engines[place]
        weights, slots = other.weights(), other.slots()
        shifted = {name: array + 0.25 for name, array in weights.items()}
        engine.load(shifted, slots)
        other.load(shifted, slots)
    assert slots
    np.testing.assert_allclose(keras.predict(inputs)["y"], onnx.predict(inputs)["y"], rtol=1e-4)
    assert keras.step(inputs).loss == pytest.approx(onnx.step(inputs).loss, rel=1e-4)
    for name, array in onnx.weights().items():
        np.testing.assert_allclose(keras.weights()[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    with pytest.raises(Failure, match="VFL0621"):
        next(iter(keras.engines.values())).load({})


def test_without_tensorflow_both_sides_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    keras_setup._imported.cache_clear()
    with pytest.raises(Failure) as failure:
        keras_setup.tensorflow()
    assert failure.value.code == "VFL0503"
    assert "vflc[keras]" in str(failure.value.help)
    with pytest.raises(Refused) as refused:
        import_keras()
    assert refused.value.diagnostics[0].code == "VFL0503"
    keras_setup._imported.cache_clear()
