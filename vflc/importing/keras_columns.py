"""Keras's preprocessing layers as encoders of the language."""

from __future__ import annotations

import json
from typing import Any

from vflc.importing.keras_layer import Layer, only, plain
from vflc.translation import columns
from vflc.translation.graph import Value, refuse
from vflc.translation.names import literal

MODES = ("int", "one_hot", "multi_hot")
"""What a layer gives: ids, or vectors of ones and zeros, which are the same for one id a row."""


def _column(layer: Layer, value: Value) -> Value:
    if value.op != "raw" or value.attrs["kind"] == "id":
        refuse(
            "VFL0701",
            f"`{layer.name}` ({layer.kind}) encodes what the model computes",
            "put it right behind an input: a spec encodes columns before its graph",
        )
    return value


def _whole(layer: Layer, value: Value) -> Value:
    if value.attrs["kind"] == "float":
        value.attrs["column"].type = "int"
    return value


def string_lookup(layer: Layer, value: Value) -> Value:
    """StringLookup and IntegerLookup: `vocab`, with `other` for what is unknown."""
    value = _column(layer, value)
    integer = layer.kind == "IntegerLookup"
    only(layer, invert=False, mask_token=None, max_tokens=..., pad_to_max_tokens=False, sparse=False,
         idf_weights=None, output_mode=MODES, num_oov_indices=(0, 1), oov_method=..., salt=...,
         encoding="utf-8", vocabulary=..., vocabulary_size=..., oov_token=...,
         vocabulary_dtype=...)  # fmt: skip
    if integer:
        value = _whole(layer, value)
    unknown = layer.config.get("num_oov_indices", 1)
    listed = _vocabulary(layer, integer)
    if unknown and listed[:1] == [layer.config.get("oov_token")]:
        listed = listed[1:]
    if not listed:
        refuse(
            "VFL0701",
            f"`{layer.name}` has no vocabulary",
            "adapt it, or give it one, and save the model again",
        )
    texts = [literal(text) for text in listed]
    chain = f"vocab({', '.join(texts + ['default = other'] * unknown)})"
    encoded = columns.encode(value, chain, "id", len(listed) + unknown)
    return _coded(layer, encoded, encoded.attrs["rows"])


def _vocabulary(layer: Layer, integer: bool) -> list[Any]:
    """The values from the configuration, or from the file that `adapt` filled."""
    given = layer.config.get("vocabulary")
    if given is None:
        name = f"assets/{layer.path.replace('layers/', '')}/vocabulary.txt"
        name = name if name in layer.archive else f"assets/{layer.path}/vocabulary.txt"
        given = layer.archive.lines(name) if name in layer.archive else []
        given = [int(text) if integer else text for text in given if not integer or _is_whole(text)]
    if not isinstance(given, list) or not all(isinstance(v, int if integer else str) for v in given):
        what = f"`{layer.name}` has a vocabulary that is not a list of values"
        refuse("VFL0700", what, "save the model again")
    return given


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def hashing(layer: Layer, value: Value) -> Value:
    """Hashing: `hash`."""
    value = _column(layer, value)
    only(
        layer,
        num_bins=...,
        mask_value=None,
        salt=...,
        output_mode=("int", "one_hot", "multi_hot"),
        sparse=False,
    )
    if value.attrs["kind"] != "string":
        value = _whole(layer, value)
    salt = layer.config.get("salt")
    salted = "" if salt is None else f", salt = {json.dumps(salt)}"
    buckets = layer.size("num_bins")
    return _coded(layer, columns.encode(value, f"hash({buckets}{salted})", "id", buckets), buckets)


def discretization(layer: Layer, value: Value) -> Value:
    """Discretization: `bucketize`."""
    value = _column(layer, value)
    only(layer, bin_boundaries=..., num_bins=..., epsilon=..., sparse=False,
         output_mode=("int", "one_hot", "multi_hot"))  # fmt: skip
    edges = layer.config.get("bin_boundaries")
    if not isinstance(edges, list) or not edges or not all(isinstance(e, (int, float)) for e in edges):
        refuse("VFL0701", f"`{layer.name}` has no boundaries", "give it `bin_boundaries`, or adapt it first")
    chain = f"bucketize({', '.join(literal(edge) for edge in edges)})"
    return _coded(layer, columns.encode(value, chain, "id", len(edges) + 1), len(edges) + 1)


def normalization(layer: Layer, value: Value) -> Value:
    """Normalization of one column: `standardize` with the layer's mean and deviation."""
    value = _column(layer, value)
    only(layer, axis=..., mean=..., variance=..., invert=False)
    mean, variance = layer.config.get("mean"), layer.config.get("variance")
    if mean is None or variance is None:
        mean, variance = layer.array("0"), layer.array("1")
    mean, variance = _one(layer, mean), _one(layer, variance)
    deviation = max(variance**0.5, 1e-7)  # Keras's own floor
    chain = f"standardize(mean = {literal(mean)}, std = {literal(deviation)})"
    return columns.encode(value, chain, "float")


def _one(layer: Layer, value: Any) -> float:
    """The single number in a number, a list or an array."""
    from vflc_common.numpy import np

    numbers = np.asarray(value).reshape(-1)
    if numbers.size != 1 or numbers.dtype.kind not in "fiu":
        refuse(
            "VFL0701",
            f"`{layer.name}` (Normalization) has a mean for each of {numbers.size} positions",
            "give each column an input and a Normalization layer of its own, or use axis=None",
        )
    return plain(numbers[0].item())


def category_encoding(layer: Layer, value: Value) -> Value:
    """CategoryEncoding of ids: `one_hot`."""
    only(layer, num_tokens=..., output_mode=("one_hot", "multi_hot"), sparse=False)
    depth = layer.size("num_tokens")
    return one_hot(layer, columns.ids(value, depth, layer.name), depth)


def one_hot(layer: Layer, feature: Value, depth: int) -> Value:
    """1 at the position of an id: of one id a row, whether as `one_hot` or `multi_hot`."""
    if feature.shape not in ((), (1,)):
        refuse("VFL0701", f"`{layer.name}` encodes several ids a row", "give each column an input of its own")
    return Value("one_hot", (feature,), (depth,), {"depth": depth}, layer.name, layer.named)


def _coded(layer: Layer, encoded: Value, rows: int) -> Value:
    if layer.config.get("output_mode", "int") == "int":
        return encoded
    return one_hot(layer, columns.ids(encoded, rows, layer.name), rows)


COLUMN_LAYERS = {
    "StringLookup": string_lookup,
    "IntegerLookup": string_lookup,
    "Hashing": hashing,
    "Discretization": discretization,
    "Normalization": normalization,
    "CategoryEncoding": category_encoding,
}
