"""Layers beside those of Keras, with Keras's weights: values, gradients, initial values."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from op_testing import build, call, evaluate, gradients, keras, run_onnx, value
from vflc_runtime.bundle.plan import Initializer
from vflc_runtime.engines.initial import initial_value

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)

ROWS, TIME, WIDTH = 4, 5, 3
LENGTHS = [5, 2, 0, 1]
"""Of each row; one has nothing at all."""
MASK = (np.arange(TIME) < np.array(LENGTHS)[:, None]).astype(np.float64)
SEQUENCE = (TIME, WIDTH)
IMAGE = (5, 6, 2)


def layer(name: str, keras_name: str, shape: tuple[int, ...], *arguments: Any, **settings: Any) -> Any:
    """A function with its arguments, and the layer of Keras with its settings."""
    masked = settings.pop("masked", False)
    own = settings.pop("own", {})
    return pytest.param(
        name, arguments, own, keras_name, settings, shape, masked, id=_id(name, own, settings)
    )


def _id(name: str, own: dict[str, Any], settings: dict[str, Any]) -> str:
    return "-".join([name, *(f"{key}={value}" for key, value in {**own, **settings}.items())])


def _conv(name: str, keras_name: str, shape: tuple[int, ...], filters: int, size: Any, **own: Any) -> Any:
    strides, dilation = own.get("stride", 1), own.get("dilation", 1)
    settings = {k: own[k] for k in ("padding", "activation") if k in own}
    settings |= {"filters": filters, "kernel_size": size, "strides": strides, "dilation_rate": dilation}
    return layer(name, keras_name, shape, filters, own=dict(own, size=size), **settings)


def _pool(name: str, keras_name: str, shape: tuple[int, ...], size: Any, stride: Any, padding: str) -> Any:
    own = {"size": size, "stride": stride, "padding": padding}
    return layer(name, keras_name, shape, own=own, pool_size=size, strides=stride, padding=padding)


BOTH = {"own": {"return_sequences": True}, "return_sequences": True}
CASES = [
    layer("gru", "GRU", SEQUENCE, 4, units=4),
    layer("gru", "GRU", SEQUENCE, 4, units=4, masked=True),
    layer("gru", "GRU", SEQUENCE, 4, units=4, masked=True, **BOTH),
    layer("gru", "GRU", (1, WIDTH), 2, units=2, **BOTH),
    layer("lstm", "LSTM", SEQUENCE, 4, units=4),
    layer("lstm", "LSTM", SEQUENCE, 4, units=4, masked=True),
    layer("lstm", "LSTM", SEQUENCE, 4, units=4, masked=True, **BOTH),
    layer("lstm", "LSTM", (1, WIDTH), 2, units=2),
    _conv("conv1d", "Conv1D", SEQUENCE, 2, 3),
    _conv("conv1d", "Conv1D", SEQUENCE, 2, 2, padding="same", activation="relu"),
    _conv("conv1d", "Conv1D", SEQUENCE, 2, 2, padding="causal", dilation=2),
    _conv("conv1d", "Conv1D", (1, WIDTH), 2, 4, padding="same"),
    _conv("conv1d", "Conv1D", (7, 1), 2, 2, stride=3),
    _conv("conv1d", "Conv1D", (7, 2), 2, 2, stride=3, padding="same"),
    _conv("conv2d", "Conv2D", IMAGE, 3, [3, 3]),
    _conv("conv2d", "Conv2D", IMAGE, 3, [2, 4], stride=[2, 1], padding="same"),
    _conv("conv2d", "Conv2D", IMAGE, 3, [2, 2], dilation=[1, 2], padding="same"),
    _pool("max_pool1d", "MaxPooling1D", SEQUENCE, 2, None, "valid"),
    _pool("max_pool1d", "MaxPooling1D", SEQUENCE, 2, 3, "same"),
    _pool("average_pool1d", "AveragePooling1D", SEQUENCE, 3, 1, "same"),
    _pool("average_pool1d", "AveragePooling1D", SEQUENCE, 5, 5, "valid"),
    _pool("max_pool2d", "MaxPooling2D", IMAGE, [2, 2], None, "valid"),
    _pool("max_pool2d", "MaxPooling2D", IMAGE, [3, 2], [1, 2], "same"),
    _pool("average_pool2d", "AveragePooling2D", IMAGE, [2, 3], [2, 2], "same"),
    layer("prelu", "PReLU", (WIDTH,), own={"alpha": 0.3}),
    layer("prelu", "PReLU", SEQUENCE, shared_axes=[1]),
    layer("swish", "Activation", (WIDTH,), activation="swish"),
]


def factors(shape: Any) -> Any:
    return np.cos(np.arange(np.prod(shape))).reshape(shape)


def held(layers: Any) -> list[Any]:
    """The layer's weights, other than those that many start with, which are zeros."""
    rng = np.random.default_rng(2)
    layers.set_weights([rng.normal(0, 0.5, each.shape) for each in layers.get_weights()])
    return [np.array(each, np.float64) for each in layers.get_weights()]


def compare(layers: Any, apply: Any, b: Any, out: Any, x: Any, feeds: dict[str, Any]) -> None:
    """Values, and gradients of a weighted sum of them by what the layer reads and by its weights."""
    import tensorflow as tf

    arrays, weights = held(layers), [node for node in b.graph if node.op == "weight"]
    sizes = [node.type.sizes for node in weights]
    assert [tuple(n for n in size if n != 1) for size in sizes] == [
        tuple(n for n in each.shape if n != 1) for each in arrays
    ]
    with tf.GradientTape() as tape:
        given = tf.constant(feeds["x"])
        tape.watch(given)
        expected = apply(given)
        total = tf.reduce_sum(expected * factors(expected.shape[1:]))
    slopes = tape.gradient(total, [given, *(each.value for each in layers.trainable_variables)])

    feeds |= {node.id: a.reshape(node.type.sizes) for node, a in zip(weights, arrays, strict=True)}
    for double, tolerance in ((True, 1e-10), (False, 1e-6)):
        (ours,) = run_onnx(b.graph, feeds, [out.id], double)
        np.testing.assert_allclose(ours, expected, rtol=10 * tolerance, atol=tolerance)
    weighted = b.op("mul", out, b.constant(factors(expected.shape[1:]).tolist()))
    found = gradients(b, weighted, [x, *weights])
    for mine, its in zip(found, slopes, strict=True):
        if mine is None:  # of the states' kernel, where there is one step
            assert not np.asarray(its).any()
            continue
        (made,) = evaluate(b.graph, feeds, [mine.id])
        np.testing.assert_allclose(made, np.asarray(its).reshape(made.shape), rtol=1e-9, atol=1e-10)


def keras_layers() -> Any:
    keras()
    from keras import layers

    return layers


@pytest.mark.parametrize(("name", "arguments", "own", "keras_name", "settings", "shape", "masked"), CASES)
def test_layers_are_those_of_keras(name, arguments, own, keras_name, settings, shape, masked):
    layers = getattr(keras_layers(), keras_name)(**settings, dtype="float64")
    layers.build((None, *shape))
    b = build()
    x, feeds = value(b, "x", None, *shape), {"x": np.random.default_rng(1).normal(size=(ROWS, *shape))}
    more = {}
    if masked:
        feeds["mask"], more = MASK, {"mask": value(b, "mask", None, TIME)}
    out = call(name, b, x, *arguments, **own, **more)
    keywords = {"mask": MASK.astype(bool)} if masked else {}
    compare(layers, lambda given: layers(given, **keywords), b, out, x, feeds)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention_is_that_of_keras(causal, masked):
    layers = keras_layers().MultiHeadAttention(num_heads=2, key_dim=4, dtype="float64")
    shape = (ROWS, TIME, 4)
    given = np.random.default_rng(1).normal(size=shape)
    layers.build(shape, shape)
    b = build()
    x, feeds, keywords = value(b, "x", None, TIME, 4), {"x": given}, {"use_causal_mask": causal}
    mask = None
    if masked:
        there = np.maximum(MASK, np.arange(TIME) == 0)  # where Keras sees nothing, its gradients are not ours
        mask, feeds["mask"] = value(b, "mask", None, TIME), there
        keywords["attention_mask"] = np.repeat(there[:, None].astype(bool), TIME, 1)
    out = call("multi_head_attention", b, x, x, 2, dim=4, mask=mask, causal=causal)
    compare(layers, lambda given: layers(given, given, **keywords), b, out, x, feeds)


def test_weights_start_as_those_of_keras():
    b = build()
    x = value(b, "x", None, *SEQUENCE)
    call("lstm", b, x, 4)
    kernel, recurrent, bias = (node for node in b.graph if node.op == "weight")
    values = [start(node) for node in (kernel, recurrent, bias)]
    theirs = keras_layers().LSTM(4)
    theirs.build((None, *SEQUENCE))
    assert np.abs(values[0]).max() <= np.sqrt(6 / (3 + 16)) < 1.3 * np.abs(values[0]).max()
    for each in (values[1], theirs.get_weights()[1]):
        np.testing.assert_allclose(each @ each.T, np.eye(4), atol=1e-6)
    np.testing.assert_array_equal(values[2], theirs.get_weights()[2])


def start(node: Any) -> Any:
    init = Initializer(node.attrs["init"].kind, node.attrs["init"].scale)
    return initial_value(1, node.id, node.type.sizes, init, "float64")
