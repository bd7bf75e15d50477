"""Keras's layers and operations: the imported spec predicts what the model does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing_testing import predictions
from keras_backend.keras_testing import needs_tensorflow

from vflc.importing.keras_ops import OPS, PARTS
from vflc.importing.keras_sequences import READERS

pytestmark = needs_tensorflow
ROWS = 12


def vectors() -> tuple[Any, Any, Any, Any]:
    """Two vectors of different widths at two parties, and two of the same."""
    import keras

    x, z = keras.Input((6,), name="x"), keras.Input((4,), name="z")
    return x, z, keras.layers.Dense(5, name="a")(x), keras.layers.Dense(5, name="b")(z)


def built(*makes: Callable[[Any, Any, Any, Any], Any]) -> Any:
    """A model of one number: what all give beside each other, or what one gives where that is one number."""
    import keras
    from keras import ops

    x, z, a, b = vectors()
    found = []
    for make in makes:
        y = make(x, z, a, b)
        if len(y.shape) > 2:
            y = keras.layers.Flatten()(y)
        found.append(ops.expand_dims(y, 1) if len(y.shape) == 1 else y)
    y = keras.layers.Concatenate()(found) if len(found) > 1 else found[0]
    if y.shape[-1] != 1:
        y = keras.layers.Dense(1, name="end")(y)
    return keras.Model([x, z], y)


def together(names: Sequence[str], size: int) -> list[Any]:
    """So many cases a model: saved, imported, compiled and loaded, one costs as much as many."""
    parts = [names[first : first + size] for first in range(0, len(names), size)]
    return [pytest.param(part, id=", ".join(part)) for part in parts]


def check(model: Any, folder: Path) -> str:
    """The model's weights get values of every kind first; the text of its spec."""
    rng = np.random.default_rng(3)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name else -1.0
        weight.assign(rng.uniform(low, 1.0, weight.shape))
    x, z = rng.normal(size=(ROWS, 6)).astype("float32"), rng.normal(size=(ROWS, 4)).astype("float32")
    tables = {
        "alice": {f"x{i + 1}": x[:, i] for i in range(6)},
        "bob": {f"z{i + 1}": z[:, i] for i in range(4)} | {"y": np.zeros(ROWS)},
    }
    text, (found,) = predictions(model, {"alice": ["x"], "bob": ["z"]}, {"bob": ["y"]}, tables, folder)
    wanted = np.asarray(model([x, z]))
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=2e-4, atol=2e-5, err_msg=text)
    return text


def layer_cases() -> dict[str, Callable[[Any, Any, Any, Any], Any]]:
    from keras import layers as k

    def shared(x: Any, z: Any, a: Any, b: Any) -> Any:
        layer = k.Dense(3, "tanh", name="both")
        return k.Concatenate()([layer(a), layer(b)])

    def image(a: Any) -> Any:
        return k.Reshape((3, 4, 2))(k.Dense(24)(a))

    def heads(x: Any, z: Any) -> Any:
        x = k.Reshape((3, 2))(x)
        x = k.MultiHeadAttention(2, 3, name="own")(x, x, use_causal_mask=True)
        return k.MultiHeadAttention(1, 2)(x, z)

    def nested(x: Any, z: Any, a: Any, b: Any) -> Any:
        import keras

        given = keras.Input((5,))
        tower = keras.Model(given, k.Dense(2)(k.Dense(4, "relu")(given)), name="tower")
        return k.Add()([tower(a), k.Dense(2)(b)])

    def towers(x: Any, z: Any, a: Any, b: Any) -> Any:
        import keras

        def tower(x: Any, name: str, width: int) -> Any:
            given = keras.Input(x.shape[1:])
            h = k.Dropout(0.2)(k.BatchNormalization()(k.Dense(width, "relu")(given)))
            return keras.Model(given, k.Dense(3)(h), name=f"tower_{name}")(x)

        return k.Multiply()([tower(a, "user", 4), tower(z, "item", 6)])

    def attended(x: Any, z: Any, a: Any, b: Any) -> Any:
        return k.Softmax(axis=1)(k.Reshape((5, 1))(a))

    return {
        "Dense": lambda x, z, a, b: k.Dense(3, "relu", use_bias=False)(k.Concatenate()([x, z])),
        "Dense of gelu": lambda x, z, a, b: k.Dense(3, "gelu")(a),
        "Dense of silu": lambda x, z, a, b: k.Dense(3, "silu")(a),
        "Dense of elu": lambda x, z, a, b: k.Dense(3, "elu")(a),
        "Dense of selu": lambda x, z, a, b: k.Dense(3, "selu")(a),
        "Dense of mish": lambda x, z, a, b: k.Dense(3, "mish")(a),
        "Dense of relu6": lambda x, z, a, b: k.Dense(3, "relu6")(a),
        "Dense of softsign": lambda x, z, a, b: k.Dense(3, "softsign")(a),
        "Dense of hard_sigmoid": lambda x, z, a, b: k.Dense(3, "hard_sigmoid")(a),
        "Dense of leaky_relu": lambda x, z, a, b: k.Dense(3, "leaky_relu")(a),
        "Dense of softmax": lambda x, z, a, b: k.Dense(3, "softmax")(a),
        "Dense along an axis": lambda x, z, a, b: k.Dense(3)(k.Reshape((3, 2))(x)),
        "Dense chain": lambda x, z, a, b: k.Dense(2)(k.Dense(3)(k.Dense(4)(k.Concatenate()([a, b])))),
        "Dense twice": shared,
        "Model": nested,
        "Models that are alike": towers,
        "BatchNormalization": lambda x, z, a, b: k.BatchNormalization(momentum=0.9)(a),
        "LayerNormalization": lambda x, z, a, b: k.LayerNormalization()(a),
        "Dropout": lambda x, z, a, b: k.Dropout(0.3)(a),
        "Flatten": lambda x, z, a, b: k.Flatten()(k.Reshape((3, 2))(x)),
        "Reshape": lambda x, z, a, b: k.Reshape((2, -1))(k.Dense(4)(a)),
        "Concatenate": lambda x, z, a, b: k.Concatenate()([a, b, z]),
        "Concatenate above": lambda x, z, a, b: k.Dense(2)(
            k.Concatenate(axis=1)([k.Reshape((1, 5))(a), k.Reshape((1, 5))(b)])
        ),
        "Concatenate matrices": lambda x, z, a, b: k.Dense(2)(
            k.Concatenate(axis=1)([k.Reshape((3, 2))(k.Dense(6)(x)), k.Reshape((2, 2))(k.Dense(4)(z))])
        ),
        "Add": lambda x, z, a, b: k.Add()([a, b, a]),
        "Multiply": lambda x, z, a, b: k.Multiply()([a, b]),
        "Maximum": lambda x, z, a, b: k.Maximum()([a, b]),
        "Minimum": lambda x, z, a, b: k.Minimum()([a, b]),
        "Average": lambda x, z, a, b: k.Average()([a, b]),
        "Subtract": lambda x, z, a, b: k.Subtract()([a, b]),
        "Dot": lambda x, z, a, b: k.Dot(axes=1)([a, b]),
        "Dot of directions": lambda x, z, a, b: k.Dot(axes=-1, normalize=True)([a, b]),
        "Dot of shares": lambda x, z, a, b: k.Dot(axes=(1, 1))(
            [k.Dense(3, "softmax")(a), k.Reshape((3, 2))(k.Dense(6)(b))]
        ),
        "Rescaling": lambda x, z, a, b: k.Rescaling(0.5, -1.0)(a),
        "UnitNormalization": lambda x, z, a, b: k.UnitNormalization()(a),
        "Activation": lambda x, z, a, b: k.Activation("tanh")(a),
        "ReLU": lambda x, z, a, b: k.ReLU(max_value=6)(a),
        "LeakyReLU": lambda x, z, a, b: k.LeakyReLU(0.1)(a),
        "Softmax": lambda x, z, a, b: k.Softmax()(a),
        "Softmax along the first axis": attended,
        "GlobalAveragePooling1D": lambda x, z, a, b: k.GlobalAveragePooling1D()(k.Reshape((3, 2))(x)),
        "GlobalMaxPooling1D": lambda x, z, a, b: k.GlobalMaxPooling1D()(k.Reshape((3, 2))(x)),
        "GRU": lambda x, z, a, b: k.GRU(4)(k.GRU(3, return_sequences=True)(k.Reshape((3, 2))(x))),
        "LSTM": lambda x, z, a, b: k.LSTM(4)(k.LSTM(3, return_sequences=True)(k.Reshape((3, 2))(x))),
        "LSTM of one step": lambda x, z, a, b: k.LSTM(4)(k.Reshape((1, 6))(x)),
        "Conv1D": lambda x, z, a, b: k.Conv1D(2, 2, padding="causal", activation="silu", use_bias=False)(
            k.Conv1D(3, 2, strides=2, padding="same", activation="mish")(k.Reshape((6, 1))(x))
        ),
        "Conv2D": lambda x, z, a, b: k.Conv2D(2, (2, 1), dilation_rate=(1, 2))(
            k.Conv2D(3, 2, padding="same", activation="relu")(image(a))
        ),
        "MaxPooling1D": lambda x, z, a, b: k.MaxPooling1D(3, 2, "same")(k.Reshape((6, 1))(x)),
        "MaxPooling2D": lambda x, z, a, b: k.MaxPooling2D()(image(a)),
        "AveragePooling1D": lambda x, z, a, b: k.AveragePooling1D(2, 1)(k.Reshape((6, 1))(x)),
        "AveragePooling2D": lambda x, z, a, b: k.AveragePooling2D((1, 2), padding="same")(image(a)),
        "GlobalAveragePooling2D": lambda x, z, a, b: k.GlobalAveragePooling2D()(image(a)),
        "GlobalMaxPooling2D": lambda x, z, a, b: k.GlobalMaxPooling2D()(image(a)),
        "MultiHeadAttention": lambda x, z, a, b: heads(x, k.Reshape((2, 2))(z)),
        "PReLU": lambda x, z, a, b: k.PReLU(shared_axes=[1])(k.Reshape((3, 2))(k.PReLU()(x))),
        "Identity": lambda x, z, a, b: k.Identity()(a),
    }


LAYER_NAMES = (
    "Dot of shares", "Rescaling",
    "Dense", "Dense of gelu", "Dense of silu", "Dense of elu", "Dense of selu", "Dense of mish",
    "Dense of relu6", "Dense of softsign", "Dense of hard_sigmoid", "Dense of leaky_relu",
    "Dense of softmax", "Dense along an axis", "Dense chain", "Dense twice", "Model",
    "Models that are alike",
    "BatchNormalization", "LayerNormalization", "Dropout", "Flatten", "Reshape", "Concatenate",
    "Concatenate above", "Concatenate matrices", "Add", "Multiply", "Maximum", "Minimum", "Average",
    "Subtract", "Dot", "Dot of directions", "UnitNormalization", "Activation", "ReLU", "LeakyReLU",
    "Softmax", "Softmax along the first axis", "GlobalAveragePooling1D", "GlobalMaxPooling1D",
    "GRU", "LSTM", "LSTM of one step", "Conv1D", "Conv2D", "MaxPooling1D", "MaxPooling2D",
    "AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D",
    "MultiHeadAttention", "PReLU", "Identity",
)  # fmt: skip


@pytest.mark.parametrize("names", together(LAYER_NAMES, 4))
def test_layers(names: Sequence[str], tmp_path: Path) -> None:
    check(built(*(layer_cases()[name] for name in names)), tmp_path)


def test_models_inside_give_their_names(tmp_path: Path) -> None:
    text = check(built(layer_cases()["Models that are alike"]), tmp_path)
    assert "block Tower(x, units) {" in text
    assert (
        "user = Tower(a, units = 4)\n" in text and "item = Tower(concat(bob.features), units = 6)\n" in text
    )


def test_every_layer_has_a_case() -> None:
    assert set(LAYER_NAMES) == set(layer_cases())
    assert set(READERS) - {"Embedding"} <= set(LAYER_NAMES), "embeddings read columns: see the next file"


OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "Exp": lambda o, a, b: o.exp(a),
    "StopGradient": lambda o, a, b: o.stop_gradient(a),
    "ZerosLike": lambda o, a, b: a + o.zeros_like(b),
    "Log": lambda o, a, b: o.log(o.square(a) + 1.0),
    "Sqrt": lambda o, a, b: o.sqrt(o.square(a) + 1.0),
    "Rsqrt": lambda o, a, b: o.rsqrt(o.square(a) + 1.0),
    "Square": lambda o, a, b: o.square(a),
    "Absolute": lambda o, a, b: o.absolute(a),
    "Abs": lambda o, a, b: o.abs(a),
    "Sign": lambda o, a, b: o.sign(a),
    "Floor": lambda o, a, b: o.floor(a),
    "Cos": lambda o, a, b: o.cos(a),
    "Negative": lambda o, a, b: -a * 2.0 - b,
    "Erf": lambda o, a, b: o.erf(a),
    "Add": lambda o, a, b: 1.5 + a + (b + a),
    "Subtract": lambda o, a, b: a - (b - 2.0),
    "Multiply": lambda o, a, b: a * -0.5 * b,
    "Divide": lambda o, a, b: o.divide(a, (o.square(b) + 1.0)),
    "TrueDivide": lambda o, a, b: a / (o.square(b) + 1.0) / 3.0,
    "Maximum": lambda o, a, b: o.maximum(a, b),
    "Minimum": lambda o, a, b: o.minimum(a, 0.5),
    "Power": lambda o, a, b: (o.abs(a) + 1.0) ** 1.5,
    "Relu": lambda o, a, b: o.relu(a),
    "Sigmoid": lambda o, a, b: o.sigmoid(a),
    "Tanh": lambda o, a, b: o.tanh(a),
    "Softplus": lambda o, a, b: o.softplus(a),
    "Gelu": lambda o, a, b: o.gelu(a, approximate=False),
    "Softmax": lambda o, a, b: o.softmax(a),
    "LogSoftmax": lambda o, a, b: o.log_softmax(a),
    "LeakyRelu": lambda o, a, b: o.leaky_relu(a, negative_slope=0.3),
    "Softsign": lambda o, a, b: o.nn.softsign(a),
    "Elu": lambda o, a, b: o.elu(a),
    "Relu6": lambda o, a, b: o.relu6(a),
    "Silu": lambda o, a, b: o.silu(a),
    "Sum": lambda o, a, b: o.sum(o.stack([a, b], axis=1), axis=2),
    "Sum of fields": lambda o, a, b: o.sum(o.stack([a, b], axis=1), axis=1, keepdims=True),
    "Sum of all": lambda o, a, b: o.sum(a * b, axis=1),
    "Mean": lambda o, a, b: o.mean(o.stack([a, b], axis=1), axis=-2),
    "Max": lambda o, a, b: o.max(o.stack([a, b], axis=2), axis=(1, 2)),
    "Max of rows": lambda o, a, b: o.max(o.reshape(a * b, (-1, 5, 1)), axis=1),
    "Concatenate": lambda o, a, b: o.concatenate([a, b], axis=1),
    "Stack": lambda o, a, b: o.stack([a, b], axis=-1),
    "Reshape": lambda o, a, b: o.reshape(a, (-1, 1, 5)),
    "ExpandDims": lambda o, a, b: o.expand_dims(a, 1) * o.expand_dims(b, 2),
    "Squeeze": lambda o, a, b: o.squeeze(o.expand_dims(a, 1), 1) - b,
    "Matmul": lambda o, a, b: o.matmul(o.expand_dims(a, 2), o.expand_dims(b, 1)),
    "Clip": lambda o, a, b: o.clip(a, -0.5, 0.75),
    "Cast": lambda o, a, b: o.cast(a, "float32"),
    "GetItem": lambda o, a, b: o.concatenate([a[:, 1:3], b[:, -1:], a[:, 2][:, None]], axis=1),
    "GetItem of fields": lambda o, a, b: o.stack([a, b, a], axis=1)[:, 1],
}


@pytest.mark.parametrize("names", together(list(OPERATIONS), 5))
def test_operations(names: Sequence[str], tmp_path: Path) -> None:
    from keras import ops

    makes = [partial(lambda make, x, z, a, b: make(ops, a, b), OPERATIONS[name]) for name in names]
    check(built(*makes), tmp_path)


def test_every_operation_has_a_case() -> None:
    assert set(OPS) - set(PARTS) <= set(OPERATIONS)
