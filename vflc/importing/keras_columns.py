"""Keras's preprocessing layers as encoders of the language."""

from __future__ import annotations

import json
from typing import Any

from vflc.importing.keras_layer import Layer, only, plain
from vflc.translation import columns
from vflc.translation.graph import Value, binary, number, refuse
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


PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
"""What Keras strips: the punctuation of ASCII."""
LOWERED, STRIPPED = 'lower(letters = "ascii")', f"remove({literal(PUNCTUATION)})"
STANDARDS: dict[Any, tuple[str, ...]] = {
    None: (), "lower": (LOWERED,), "strip_punctuation": (STRIPPED,),
    "lower_and_strip_punctuation": (LOWERED, STRIPPED),
}  # fmt: skip
"""Encoders for what TextVectorization does to a text before it splits it; Keras lowers A to Z alone."""


def text_vectorization(layer: Layer, value: Value) -> Value:
    """TextVectorization: `words` and a `vocab`; ids of a fixed length, or how often each word occurs."""
    value = _column(layer, value)
    config = layer.config
    only(layer, max_tokens=..., standardize=..., split=..., ngrams=None, output_mode=...,
         output_sequence_length=..., pad_to_max_tokens=False, vocabulary=..., idf_weights=..., sparse=False,
         ragged=False, encoding="utf-8", vocabulary_size=...)  # fmt: skip
    if value.attrs["kind"] != "string":
        refuse("VFL0701", f"`{layer.name}` splits numbers", "give it an input of text")
    chain = (*_standardized(layer), *_split(layer))
    listed, mode = _vocabulary(layer, integer=False), config.get("output_mode", "int")
    if mode not in ("int", "multi_hot", "count"):
        help = "use output_mode='count', and let the layer behind it learn how much a word weighs"
        refuse("VFL0701", f"`{layer.name}` has output_mode = {str(mode)[:20]}", help)
    special = ["", OOV] if mode == "int" else [OOV]
    listed = listed[len(special) :] if listed[: len(special)] == special else listed
    if not listed:
        refuse("VFL0701", f"`{layer.name}` has no vocabulary", "adapt it, or give it one, and save it again")
    if mode == "int":
        return _padded(layer, value, chain, listed)
    known = f"vocab({', '.join(literal(text) for text in listed)}, default = other)"
    ids = columns.encode(_alone(value), " -> ".join([*chain, known]), "ids", len(listed) + 1)
    depth = len(listed) + 1
    feature = columns.ids(ids, depth, layer.name)
    counts = Value("one_hot", (feature,), (depth,), {"depth": depth}, layer.name, layer.named)
    return counts if mode == "count" else binary("minimum", counts, number(1), layer.name)


OOV = "[UNK]"
"""What Keras lists for all words that it does not know."""


def _alone(value: Value) -> Value:
    return Value("raw", (), (), value.attrs)


def _standardized(layer: Layer) -> tuple[str, ...]:
    given = layer.config.get("standardize", "lower_and_strip_punctuation")
    if given is not None and (not isinstance(given, str) or given not in STANDARDS):
        help = f"use one of {', '.join(str(each) for each in STANDARDS)}, and the same when it is adapted"
        refuse("VFL0701", f"`{layer.name}` standardizes texts by a function of its own", help)
    return STANDARDS[given]


def _split(layer: Layer) -> tuple[str, ...]:
    given = layer.config.get("split", "whitespace")
    if given != "whitespace":
        what = f"split = {given}" if isinstance(given, str) or given is None else "a function of its own"
        help = "use split='whitespace'; a whole text is looked up by a StringLookup"
        refuse("VFL0701", f"`{layer.name}` splits texts by {what[:40]}", help)
    return ("words",)


def _padded(layer: Layer, value: Value, chain: tuple[str, ...], listed: list[Any]) -> Value:
    """The first ids of a row, 0 where a row has fewer, 1 for all unknown words."""
    length = layer.config.get("output_sequence_length")
    if not isinstance(length, int) or not 1 <= length <= 100_000:
        what = f"`{layer.name}` gives as many ids as the longest text of the batch has"
        refuse("VFL0703", what, "give it output_sequence_length")
    texts = ", ".join(literal(text) for text in ["", OOV, *listed])
    known = f"vocab({texts}, default = {literal(OOV)})"
    encoders = " -> ".join([*chain, f"pad({length})", known])
    made = columns.encode(_alone(value), encoders, "padded", len(listed) + 2)
    return Value("raw", (), (length,), made.attrs)


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
    "TextVectorization": text_vectorization,
}
