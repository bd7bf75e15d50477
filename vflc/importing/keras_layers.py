"""Keras's layers in operations of the language: a function for each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from vflc.importing.keras_layer import Layer, first_values, function_name, only, plain, trained
from vflc.translation import columns
from vflc.translation.activations import IN_LAYERS, activate
from vflc.translation.graph import (
    DAMAGED,
    Value,
    binary,
    concat,
    number,
    reduce,
    refuse,
    reshape,
    unary,
)  # fmt: skip

LayerReader = Callable[[Layer, list[Value], list[str]], Value]
"""From a layer, what it reads, and the notes of the model."""

NO_PENALTY = {
    "kernel_regularizer": None, "bias_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
    "embeddings_regularizer": None, "embeddings_constraint": None, "gamma_regularizer": None,
    "beta_regularizer": None, "gamma_constraint": None, "beta_constraint": None,
}  # fmt: skip


def _penalties(*names: str) -> dict[str, None]:
    return {key: None for key in NO_PENALTY if key.split("_")[0] in names}


def penalty(layer: Layer, key: str) -> dict[str, Any]:
    """`penalty` of a layer: what its regularizer adds to the objective, as functions and coefficients.

    Keras's L2 is the whole sum of squares, and `l2` half of it.
    """
    given = layer.config.get(key)
    if given is None:
        return {}
    kind = given.get("class_name") if isinstance(given, Mapping) else given
    settings = given.get("config") or {} if isinstance(given, Mapping) else {}
    names = {"L1": ("l1",), "L2": ("l2",), "L1L2": ("l1", "l2")}.get(str(kind))
    if names is None or not all(isinstance(settings.get(name), (int, float)) for name in names):
        refuse(
            "VFL0701",
            f"`{layer.name}` has {key} = {str(kind)[:40]}, which has no counterpart",
            "use L1 or L2",
        )
    found = {name: plain(settings[name]) * (2 if name == "l2" else 1) for name in names}
    return {"penalty": {name: value for name, value in found.items() if value}} if any(found.values()) else {}


def one(layer: Layer, values: Sequence[Value]) -> Value:
    """The single value that a layer reads, as numbers."""
    if len(values) != 1:
        refuse("VFL0700", f"`{layer.name}` ({layer.kind}) reads {len(values)} values", DAMAGED)
    return columns.numeric(values[0], layer.name)


def several(layer: Layer, values: Sequence[Value], least: int = 1) -> list[Value]:
    if len(values) < least:
        refuse("VFL0700", f"`{layer.name}` ({layer.kind}) reads {len(values)} values", DAMAGED)
    return [columns.numeric(value, layer.name) for value in values]


def _named(layer: Layer, value: Value, inputs: Sequence[Value]) -> Value:
    """Gives the value the layer's name, unless it is one of those that the layer only passes on."""
    if all(value is not v for v in inputs):
        value.layer, value.named = layer.name, layer.named
    return value


# --- with weights -----------------------------------------------------------------------------------


def dense(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, units=..., activation=..., use_bias=..., kernel_initializer=..., bias_initializer=...,
         **{**_penalties("kernel", "bias"), "kernel_regularizer": ...})  # fmt: skip
    if x.op != "number":
        trained(layer)
    if not x.shape and x.op != "number":
        refuse(
            "VFL0703", f"`{layer.name}` (Dense) reads a number without an axis a row", "give it shape (1,)"
        )
    units, bias = layer.size("units"), layer.config.get("use_bias", True)
    width = x.shape[-1] if x.shape else 1
    first = first_values(layer, "kernel_initializer", (width, units), notes)
    if bias and function_name(layer.config.get("bias_initializer")) not in ("zeros", "linear"):
        notes.append(f"The bias of `{layer.name}` starts at 0, and not as the model says.")
    weights = {"kernel": f"{layer.path}/vars/0"} | ({"bias": f"{layer.path}/vars/1"} if bias else {})
    name = function_name(layer.config.get("activation"))
    if x.op == "number":
        return _alone(layer, x, units, name, first, weights)
    attrs = {"units": units, "bias": bool(bias), "activation": "linear", **first}
    attrs |= penalty(layer, "kernel_regularizer")
    made = Value(
        "dense", (x,), (*x.shape[:-1], units), attrs, layer.name, layer.named, weights, layer.calls > 1
    )
    if name in IN_LAYERS:
        attrs["activation"] = name
        return made
    return activate(made, name, layer.name)


def _alone(
    layer: Layer, x: Value, units: int, activation: str, first: dict[str, Any], weights: dict[str, str]
) -> Value:
    """A layer on a one is a weight by itself, which is how exports write one."""
    if x.attrs["value"] != 1 or "bias" in weights or activation != "linear" or layer.calls > 1:
        refuse(
            "VFL0701", f"`{layer.name}` (Dense) reads a number that is part of the model", "give it values"
        )
    frozen = layer.config.get("trainable") is False
    attrs = {**first, "frozen": frozen, **penalty(layer, "kernel_regularizer")}
    return Value("weight", (), (units,), attrs, layer.name, layer.named, {"": weights["kernel"]})


def embedding(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    only(layer, input_dim=..., output_dim=..., embeddings_initializer=..., mask_zero=False, input_length=...,
         weights=None, embeddings_constraint=None, embeddings_regularizer=...)  # fmt: skip
    trained(layer)
    rows, dim = layer.size("input_dim"), layer.size("output_dim")
    if len(values) != 1:
        refuse("VFL0700", f"`{layer.name}` (Embedding) reads {len(values)} values", DAMAGED)
    ids = values[0].inputs[0] if values[0].op == "kept" else values[0]
    feature = columns.ids(ids, rows, layer.name)
    first = first_values(layer, "embeddings_initializer", (rows, dim), notes)
    attrs = {"rows": rows, "dim": dim, **first, **penalty(layer, "embeddings_regularizer")}
    weights = {"table": f"{layer.path}/vars/0"}
    if ids is not values[0]:
        attrs["ids"] = ids
        return Value("rows", (feature,), (dim,), attrs, layer.name, layer.named, weights, layer.calls > 1)
    shape = (*feature.shape, dim)
    several = feature.shape > (1,) and len(feature.attrs["column"].members) == 1
    many = layer.calls > 1 or several  # a `lookup` in a table
    return Value("embed", (feature,), shape, attrs, layer.name, layer.named, weights, many)


def batch_normalization(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, axis=..., momentum=..., epsilon=..., center=True, scale=True, synchronized=False,
         renorm=False, renorm_clipping=None, renorm_momentum=..., beta_initializer=...,
         gamma_initializer=..., moving_mean_initializer=..., moving_variance_initializer=...,
         **_penalties("gamma", "beta"))  # fmt: skip
    return _normalised("batch_norm", layer, x, ("gamma", "beta", "moving_mean", "moving_variance"),
                       momentum=layer.fraction("momentum", 0.99))  # fmt: skip


def layer_normalization(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, axis=..., epsilon=..., center=True, scale=True, rms_scaling=False, beta_initializer=...,
         gamma_initializer=..., **_penalties("gamma", "beta"))  # fmt: skip
    return _normalised("layer_norm", layer, x, ("gamma", "beta"))


def _normalised(op: str, layer: Layer, x: Value, weights: Sequence[str], **attrs: Any) -> Value:
    trained(layer)
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(x.shape)) or not x.shape:
        refuse(
            "VFL0701", f"`{layer.name}` ({layer.kind}) has axis = {axis}", "normalize along the last axis, -1"
        )
    for key, usual in (("gamma", "ones"), ("beta", "zeros")):
        if function_name(layer.config.get(f"{key}_initializer")) not in (usual, "linear"):
            refuse(
                "VFL0701",
                f"`{layer.name}` starts with another {key} than {usual}",
                "leave the initializer out",
            )
    held = {name: f"{layer.path}/vars/{index}" for index, name in enumerate(weights)}
    if layer.calls > 1:
        refuse(
            "VFL0701",
            f"`{layer.name}` ({layer.kind}) is used {layer.calls} times",
            "make a layer for each use",
        )
    settings = {"epsilon": layer.fraction("epsilon", 1e-3), **attrs}
    return Value(op, (x,), x.shape, settings, layer.name, layer.named, held)


# --- without weights --------------------------------------------------------------------------------


def dropout(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, rate=..., noise_shape=None)
    rate = layer.fraction("rate", 0.5)
    return Value("dropout", (x,), x.shape, {"rate": rate}, layer.name, layer.named) if rate else x


def flatten(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    if len(values) == 1 and values[0].op == "raw" and values[0].shape in ((), (1,)):
        return Value("raw", (), (1,), values[0].attrs)
    x = one(layer, values)
    only(layer, data_format=("channels_last", None))
    return _named(layer, reshape(x, (prod(x.shape),), layer.name), [x])


def reshaped(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, target_shape=...)
    shape = layer.config.get("target_shape")
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        refuse("VFL0700", f"`{layer.name}` (Reshape) has target_shape = {str(shape)[:40]}", DAMAGED)
    return _named(layer, reshape(x, tuple(shape), layer.name), [x])


def concatenate(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    given = several(layer, values)
    only(layer, axis=...)
    axis = row_axis(layer.config.get("axis", -1), len(given[0].shape), layer.name)
    return _named(layer, concat(given, axis, layer.name), given)


def row_axis(axis: Any, rank: int, layer: str) -> int:
    """The position among a row's axes of an axis as Keras counts it; negative counts from the end."""
    if not isinstance(axis, int) or isinstance(axis, bool) or not -rank <= axis <= rank:
        refuse(
            "VFL0703",
            f"`{layer}` works along axis {str(axis)[:20]} of values with {rank} axes a row",
            DAMAGED,
        )
    if axis == 0:
        refuse(
            "VFL0703",
            f"`{layer}` works along the batch",
            "a spec computes each row by itself: use another axis",
        )
    return axis - 1 if axis > 0 else axis + rank


def joined(op: str) -> LayerReader:
    """Add, Multiply, Maximum, Minimum: two or more values, one after another."""

    def made(layer: Layer, values: list[Value], notes: list[str]) -> Value:
        given = several(layer, values, 2)
        only(layer)
        total = given[0]
        for value in given[1:]:
            total = binary(op, total, value, layer.name)
        return _named(layer, total, given)

    return made


def average(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    total = joined("add")(layer, values, notes)
    total.named = False
    return _named(layer, binary("div", total, number(len(values)), layer.name), [])


def subtract(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    given = several(layer, values, 2)
    only(layer)
    return _named(layer, binary("sub", given[0], given[1], layer.name), [])


def dot(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x, y = several(layer, values, 2)
    only(layer, axes=..., normalize=...)
    axes = layer.config.get("axes")
    if (len(x.shape), len(y.shape)) == (1, 2) and x.shape[0] == y.shape[0] and axes in (1, [1, 1]):
        return _mixed(layer, x, y)
    if len(x.shape) != 1 or x.shape != y.shape or axes not in (1, -1, [1, 1], [-1, -1]):
        refuse(
            "VFL0701",
            f"`{layer.name}` (Dot) is not the product of two vectors of a row",
            "use keras.ops.matmul",
        )
    if layer.config.get("normalize"):
        x, y = (_unit(v, layer.name) for v in (x, y))
    return Value("dot", (x, y), (1,), {}, layer.name, layer.named)


def _mixed(layer: Layer, x: Value, y: Value) -> Value:
    """The vectors of a row weighed by the numbers of another value, as gates weigh experts."""
    if layer.config.get("normalize"):
        refuse("VFL0701", f"`{layer.name}` (Dot) normalizes vectors that it weighs", "use normalize=False")
    shares = reshape(x, (*x.shape, 1), layer.name)
    return _named(layer, reduce("sum", binary("mul", shares, y, layer.name), (0,), False, layer.name), [])


def rescaling(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, scale=..., offset=...)
    scaled = binary("mul", x, number(layer.fraction("scale", 1.0)), layer.name)
    offset = layer.fraction("offset", 0.0)
    return _named(layer, binary("add", scaled, number(offset), layer.name) if offset else scaled, [x])


def _unit(x: Value, layer: str) -> Value:
    """The vector at length 1, with Keras's floor under the length."""
    squares = reduce("sum", unary("square", x, layer), (len(x.shape) - 1,), True, layer)
    return binary("div", x, unary("sqrt", binary("maximum", squares, number(1e-12), layer), layer), layer)


def unit_normalization(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, axis=(-1, len(x.shape), [-1], [len(x.shape)]))
    return _named(layer, _unit(x, layer.name), [x])


def activation(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, activation=...)
    return _named(layer, activate(x, function_name(layer.config.get("activation")), layer.name), [x])


def relu(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, max_value=(None, 6, 6.0), negative_slope=(0, 0.0, None), threshold=(0, 0.0, None))
    made = unary("clip", x, layer.name, low=0, high=6) if layer.config.get("max_value") else None
    return _named(layer, made or unary("relu", x, layer.name), [x])


def leaky_relu(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, negative_slope=...)
    return _named(layer, unary("leaky_relu", x, layer.name, alpha=layer.fraction("negative_slope", 0.3)), [x])


def softmax(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    only(layer, axis=...)
    axis = row_axis(layer.config.get("axis", -1), len(x.shape), layer.name)
    return _named(layer, unary("softmax", x, layer.name, axis=axis), [x])


def pooled(op: str) -> LayerReader:
    """GlobalAveragePooling1D and GlobalMaxPooling1D: over the first of two axes."""

    def made(layer: Layer, values: list[Value], notes: list[str]) -> Value:
        x = one(layer, values)
        only(layer, data_format=("channels_last", None), keepdims=...)
        if len(x.shape) != 2:
            refuse("VFL0700", f"`{layer.name}` ({layer.kind}) reads {len(x.shape)} axes a row", DAMAGED)
        return _named(layer, reduce(op, x, (0,), bool(layer.config.get("keepdims")), layer.name), [x])

    return made


def passed(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    only(layer)
    return values[0] if values else one(layer, values)


LAYERS: dict[str, LayerReader] = {
    "Dense": dense,
    "Embedding": embedding,
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "Dropout": dropout,
    "Flatten": flatten,
    "Reshape": reshaped,
    "Concatenate": concatenate,
    "Add": joined("add"),
    "Multiply": joined("mul"),
    "Maximum": joined("maximum"),
    "Minimum": joined("minimum"),
    "Average": average,
    "Subtract": subtract,
    "Dot": dot,
    "Rescaling": rescaling,
    "UnitNormalization": unit_normalization,
    "Activation": activation,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "Softmax": softmax,
    "GlobalAveragePooling1D": pooled("mean"),
    "GlobalMaxPooling1D": pooled("max"),
    "Identity": passed,
}
