"""Keras's layers over sequences and images as functions of the language, and the table of all layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vflc.importing.keras_layer import Layer, function_name, only, trained
from vflc.importing.keras_layers import LAYERS, NO_PENALTY, LayerReader, one, several
from vflc.translation.activations import IN_LAYERS, activate
from vflc.translation.graph import DAMAGED, Value, reduce, refuse, reshape

LAST = ("channels_last", None)
STARTS = {
    "kernel_initializer": "glorot_uniform", "recurrent_initializer": "orthogonal",
    "bias_initializer": "zeros", "alpha_initializer": "zeros",
}  # fmt: skip
"""How these layers start, in Keras as in the language."""
USUAL: dict[str, Any] = {
    **NO_PENALTY, **dict.fromkeys(STARTS, ...), "recurrent_regularizer": None, "recurrent_constraint": None,
    "alpha_regularizer": None, "alpha_constraint": None,
}  # fmt: skip


def _made(
    layer: Layer, function: str, inputs: Sequence[Value], shape: tuple[int, ...], arguments: Sequence[Any],
    weights: dict[str, str], notes: list[str], **settings: Any,
) -> Value:  # fmt: skip
    """A call of a function of the language; weights by the last part of their names."""
    if layer.calls > 1 and weights:
        refuse(
            "VFL0701",
            f"`{layer.name}` ({layer.kind}) is used {layer.calls} times",
            "make a layer for each use",
        )
    if weights:
        trained(layer)
    for key, usual in STARTS.items():
        if function_name(layer.config.get(key, usual)) not in (usual, "linear"):
            notes.append(f"`{layer.name}` starts as `{function}` does, and not with the model's {key}.")
    attrs = {"function": function, "arguments": tuple(arguments), "settings": settings}
    held = {name: f"{layer.path}/{at}" for name, at in weights.items()}
    return Value("layered", tuple(inputs), shape, attrs, layer.name, layer.named, held)


def recurrent(function: str, **allowed: Any) -> LayerReader:
    """GRU and LSTM, of which the cell holds the weights."""

    def made(layer: Layer, values: list[Value], notes: list[str]) -> Value:
        only(layer, units=..., return_sequences=..., return_state=False, go_backwards=False, stateful=False,
             unroll=..., zero_output_for_mask=..., activation=..., recurrent_activation=..., use_bias=True,
             dropout=(0, 0.0), recurrent_dropout=(0, 0.0), time_major=False, **allowed, **USUAL)  # fmt: skip
        x = _of_rank(layer, values, 2)
        for key, usual in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            if function_name(layer.config.get(key, usual)) != usual:
                refuse("VFL0701", f"`{layer.name}` has another {key} than {usual}", f"make it with {usual}")
        units, every = layer.size("units"), bool(layer.config.get("return_sequences"))
        shape = (x.shape[0], units) if every else (units,)
        weights = {n: f"cell/vars/{i}" for i, n in enumerate(("kernel", "recurrent_kernel", "bias"))}
        if x.shape[0] == 1:  # the state's kernel meets nothing, and is no weight of the spec
            del weights["recurrent_kernel"]
        settings = {"return_sequences": True} if every else {}
        return _made(layer, function, [x], shape, [units], weights, notes, **settings)

    return made


def convolution(axes: int) -> LayerReader:
    def made(layer: Layer, values: list[Value], notes: list[str]) -> Value:
        only(layer, filters=..., kernel_size=..., strides=..., padding=..., data_format=LAST, groups=1,
             dilation_rate=..., activation=..., use_bias=..., **USUAL)  # fmt: skip
        x = _of_rank(layer, values, axes + 1)
        filters, bias = layer.size("filters"), bool(layer.config.get("use_bias", True))
        size, stride, dilation = (
            _sizes(layer, key, axes, [1] * axes) for key in ("kernel_size", "strides", "dilation_rate")
        )
        padding = str(layer.config.get("padding", "valid"))
        lengths = _lengths(layer, x.shape[:-1], size, stride, padding, dilation)
        settings: dict[str, Any] = {"size": _short(size)} | _unless_one(stride=stride, dilation=dilation)
        settings |= {"padding": padding} if padding != "valid" else {}
        settings |= {} if bias else {"bias": False}
        name = function_name(layer.config.get("activation"))
        settings |= {"activation": name} if name in IN_LAYERS else {}
        weights = {"kernel": "vars/0"} | ({"bias": "vars/1"} if bias else {})
        shape = (*lengths, filters)
        value = _made(layer, f"conv{axes}d", [x], shape, [filters], weights, notes, **settings)
        return value if name in IN_LAYERS else activate(value, name, layer.name)

    return made


def pooling(function: str, axes: int) -> LayerReader:
    def made(layer: Layer, values: list[Value], notes: list[str]) -> Value:
        only(layer, pool_size=..., strides=..., padding=("valid", "same"), data_format=LAST)
        x = _of_rank(layer, values, axes + 1)
        size = _sizes(layer, "pool_size", axes, [2] * axes)
        stride = _sizes(layer, "strides", axes, size)
        padding = str(layer.config.get("padding", "valid"))
        lengths = _lengths(layer, x.shape[:-1], size, stride, padding, [1] * axes)
        settings: dict[str, Any] = {"size": _short(size)}
        settings |= {"stride": _short(stride)} if stride != size else {}
        settings |= {"padding": padding} if padding != "valid" else {}
        return _made(layer, f"{function}{axes}d", [x], (*lengths, x.shape[-1]), [], {}, notes, **settings)

    return made


def whole(op: str) -> LayerReader:
    """GlobalAveragePooling2D and GlobalMaxPooling2D: over the first two of three axes."""

    def made(layer: Layer, values: list[Value], notes: list[str]) -> Value:
        only(layer, data_format=LAST, keepdims=False)
        x = _of_rank(layer, values, 3)
        flat = reshape(x, (x.shape[0] * x.shape[1], x.shape[2]), layer.name)
        total = reduce(op, flat, (0,), False, layer.name)
        total.layer, total.named = layer.name, layer.named
        return total

    return made


def attention(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    given = several(layer, values, 2)
    only(layer, num_heads=..., key_dim=..., value_dim=(None, layer.config.get("key_dim")), dropout=...,
         use_bias=True, use_gate=False, output_shape=None, attention_axes=(None, [1]), sliding_window=None,
         flash_attention=(None, False), use_causal_mask=..., **USUAL)  # fmt: skip
    query, value = given[:2]
    if len(given) > 3 or any(key is not value for key in given[2:]) or {len(v.shape) for v in given} != {2}:
        refuse(
            "VFL0701",
            f"`{layer.name}` ({layer.kind}) does not read a query and values [positions, units]",
            "give it those two, without a key of its own",
        )
    heads, dim = layer.size("num_heads"), layer.size("key_dim")
    settings: dict[str, Any] = {"dim": dim} if dim != query.shape[-1] // heads else {}
    settings |= {"causal": True} if layer.config.get("use_causal_mask") else {}
    rate = layer.fraction("dropout", 0.0)
    settings |= {"dropout": rate} if rate else {}
    weights = {
        f"{name}.{kind}": f"{name}_dense/vars/{i}"
        for name in ("query", "key", "value", "output")
        for i, kind in enumerate(("kernel", "bias"))
    }
    return _made(
        layer, "multi_head_attention", [query, value], query.shape, [heads], weights, notes, **settings
    )  # fmt: skip


def prelu(layer: Layer, values: list[Value], notes: list[str]) -> Value:
    x = one(layer, values)
    others = list(range(1, len(x.shape)))
    only(layer, shared_axes=(others,) if others else (None, []), **USUAL)
    return _made(layer, "prelu", [x], x.shape, [], {"alpha": "vars/0"}, notes)


def _of_rank(layer: Layer, values: list[Value], rank: int) -> Value:
    x = one(layer, values)
    if len(x.shape) != rank:
        refuse("VFL0700", f"`{layer.name}` ({layer.kind}) reads {len(x.shape)} axes a row", DAMAGED)
    return x


def _sizes(layer: Layer, key: str, axes: int, usual: Sequence[int]) -> list[int]:
    given = layer.config.get(key)
    found = list(usual) if given is None else [given] * axes if isinstance(given, int) else given
    whole = isinstance(found, list) and all(isinstance(n, int) and 1 <= n < 2**31 for n in found)
    if not whole or len(found) != axes:
        refuse("VFL0700", f"`{layer.name}` has {key} = {str(given)[:40]}", DAMAGED)
    return list(found)


def _lengths(
    layer: Layer, sizes: Sequence[int], window: Sequence[int], stride: Sequence[int], padding: str,
    dilation: Sequence[int],
) -> tuple[int, ...]:  # fmt: skip
    """How long the axes are afterwards."""
    if padding not in ("valid", "same", "causal"):
        refuse("VFL0700", f"`{layer.name}` has padding = {padding[:40]}", DAMAGED)
    lost = [0 if padding != "valid" else (w - 1) * d for w, d in zip(window, dilation, strict=True)]
    found = tuple(-(-(n - less) // s) for n, less, s in zip(sizes, lost, stride, strict=True))
    if min(found) < 1:
        refuse("VFL0700", f"`{layer.name}` ({layer.kind}) has windows longer than what it reads", DAMAGED)
    return found


def _short(sizes: list[int]) -> int | list[int]:
    return sizes[0] if len(set(sizes)) == 1 else sizes


def _unless_one(**given: list[int]) -> dict[str, int | list[int]]:
    return {key: _short(sizes) for key, sizes in given.items() if set(sizes) != {1}}


READERS: dict[str, LayerReader] = {
    **LAYERS,
    "GRU": recurrent("gru", reset_after=True),
    "LSTM": recurrent("lstm", unit_forget_bias=True),
    "Conv1D": convolution(1),
    "Conv2D": convolution(2),
    "MaxPooling1D": pooling("max_pool", 1),
    "MaxPooling2D": pooling("max_pool", 2),
    "AveragePooling1D": pooling("average_pool", 1),
    "AveragePooling2D": pooling("average_pool", 2),
    "GlobalAveragePooling2D": whole("mean"),
    "GlobalMaxPooling2D": whole("max"),
    "MultiHeadAttention": attention,
    "PReLU": prelu,
}
"""All layers that are known, by their classes."""
