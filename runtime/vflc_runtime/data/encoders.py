"""The encoders: each maps values to ids or numbers, one value at a time and null to null.

`hash`, `bucketize` and `vocab` with unknown values first give the ids of Keras's `Hashing`,
`Discretization`, `StringLookup` and `IntegerLookup`. Each raises Arrow's errors where it is given
text for numbers or the like; `chain` says which column that was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import farmhash
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vflc_runtime.data.siphash import siphash
from vflc_runtime.data.values import text

Encoder = Mapping[str, Any]


@dataclass
class Values:
    """Values on their way through a chain.

    Attributes:
        flat: the values; many-valued ones lie one after another.
        offsets: where many-valued, row i is flat[offsets[i]:offsets[i + 1]].
        unknown: after a lookup, which of the values it does not know.
        looked_up: what the lookup was given.
    """

    flat: pa.Array
    offsets: NDArray[np.int64] | None = None
    unknown: NDArray[np.bool_] | None = None
    looked_up: pa.Array | None = None

    def mapped(self, function: Callable[[pa.Array], pa.Array]) -> Values:
        """The same rows with other values."""
        return replace(self, flat=function(self.flat))


def numbers_of(array: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """An array as float64, 0 where it is null, and where it is."""
    if pa.types.is_string(array.type):
        raise pa.ArrowInvalid("text is used as a number")
    null = pc.is_null(array).to_numpy(zero_copy_only=False)
    numbers = array.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    return numbers, null


def _number(
    function: Callable[[NDArray[np.float64], Encoder], NDArray[Any]],
) -> Callable[[Values, Encoder], Values]:
    """An encoder of numbers from a function over numpy; what is not finite is missing."""

    def encode(values: Values, encoder: Encoder) -> Values:
        numbers, null = numbers_of(values.flat)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = function(numbers, encoder)
        return replace(values, flat=pa.array(result, mask=null | ~np.isfinite(result)))

    return encode


def _missing(values: Values, encoder: Encoder) -> Values:
    value, flat = encoder["value"], values.flat
    if pa.types.is_string(flat.type):
        return values.mapped(lambda a: a.fill_null(text(value)))
    if pa.types.is_integer(flat.type) and isinstance(value, float) and not value.is_integer():
        flat = flat.cast(pa.float64(), safe=False)
    return replace(values, flat=flat.fill_null(pa.scalar(value).cast(flat.type)))


def _strip(values: Values, encoder: Encoder) -> Values:
    return values.mapped(pc.utf8_trim_whitespace)


def _lower(values: Values, encoder: Encoder) -> Values:
    return values.mapped(pc.utf8_lower)


def _split(values: Values, encoder: Encoder) -> Values:
    """Pieces between separators; empty pieces are none."""
    lists = pc.split_pattern(values.flat.fill_null(""), pattern=encoder["separator"])
    flat, offsets = lists.values, lists.offsets.to_numpy().astype(np.int64)
    kept = pc.not_equal(flat, "")
    before = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
    return Values(flat.filter(kept), before[offsets])


def _hash(values: Values, encoder: Encoder) -> Values:
    """FarmHash's Fingerprint64, or SipHash-2-4 with a salt, of the text, modulo the buckets."""
    flat, salt, buckets = values.flat, encoder.get("salt"), encoder["buckets"]
    texts = flat.cast(pa.string()).fill_null("").to_pylist()
    if salt is None:
        hashes = np.fromiter(map(farmhash.fingerprint64, texts), np.uint64, len(texts))
    else:
        pair = (salt, salt) if isinstance(salt, int) else tuple(salt)
        hashes = siphash([text.encode() for text in texts], *pair)
    ids = (hashes % np.uint64(buckets)).astype(np.int64)
    null = pc.is_null(flat).to_numpy(zero_copy_only=False)
    return replace(values, flat=pa.array(ids, mask=null))


def _vocab(values: Values, encoder: Encoder) -> Values:
    flat, listed = values.flat, list(encoder["values"])
    if pa.types.is_string(flat.type) or isinstance(listed[0], str):
        flat, known = flat.cast(pa.string()), pa.array([text(v) for v in listed], pa.string())
    elif pa.types.is_floating(flat.type) or any(isinstance(v, float) for v in listed):
        flat, known = flat.cast(pa.float64(), safe=False), pa.array([float(v) for v in listed])
    else:
        known = pa.array(listed, pa.int64())
    found = pc.index_in(flat, value_set=known, skip_nulls=True)
    return _looked_up(values, found.cast(pa.int64()), encoder, listed.index)


def _index(values: Values, encoder: Encoder) -> Values:
    flat, n = values.flat, encoder["n"]
    if pa.types.is_string(flat.type):
        whole = pc.match_substring_regex(flat, r"^[+-]?[0-9]{1,18}$")
        flat = pc.if_else(whole, flat, pa.scalar(None, pa.string())).cast(pa.int64())
    inside = pc.and_(pc.greater_equal(flat, 0), pc.less(flat, n))
    if pa.types.is_floating(flat.type):
        inside = pc.and_(inside, pc.equal(flat, pc.floor(flat)))
    found = pc.if_else(inside, flat, pa.scalar(None, flat.type)).cast(pa.int64())
    return _looked_up(values, found, encoder, int)


def _looked_up(values: Values, found: pa.Array, encoder: Encoder, position: Callable[[Any], int]) -> Values:
    """Positions (null where unknown or missing) as ids, with the default applied."""
    unknown = pc.and_(pc.is_null(found), pc.is_valid(values.flat)).to_numpy(zero_copy_only=False)
    default = encoder.get("default")
    if default == "other":
        found = pc.add(found, 1).fill_null(0)
    elif default is not None:
        found = found.fill_null(position(default["value"]))
    return Values(found, values.offsets, unknown, values.flat)


def _sequence(values: Values, encoder: Encoder) -> Values:
    """The last `max` values of each row, in their order."""
    assert values.offsets is not None, "a sequence follows a split"
    lengths = np.diff(values.offsets)
    places = np.arange(len(values.flat)) - np.repeat(values.offsets[1:], lengths)  # from the row's end
    kept = places >= -encoder["max"]
    chosen = pa.array(kept)
    return Values(
        values.flat.filter(chosen),
        np.concatenate([[0], np.cumsum(np.minimum(lengths, encoder["max"]))]),
        None if values.unknown is None else values.unknown[kept],
        None if values.looked_up is None else values.looked_up.filter(chosen),
    )


def _standardize(x: NDArray[np.float64], encoder: Encoder) -> NDArray[np.float64]:
    return (x - float(encoder["mean"])) / float(encoder["std"])


def _minmax(x: NDArray[np.float64], encoder: Encoder) -> NDArray[np.float64]:
    low, high = float(encoder["low"]), float(encoder["high"])
    return (x - low) / (high - low)


LOOKUPS = {"vocab", "index"}
"""Encoders that may not know a value."""

FITTED = {"standardize": ("mean", "std"), "minmax": ("low", "high")}
"""Encoders with parameters that are fitted to the training rows where the spec does not give them."""

ENCODERS: dict[str, Callable[[Values, Encoder], Values]] = {
    "missing": _missing,
    "strip": _strip,
    "lower": _lower,
    "split": _split,
    "hash": _hash,
    "vocab": _vocab,
    "index": _index,
    "sequence": _sequence,
    "bucketize": _number(lambda x, e: np.searchsorted(np.asarray(e["edges"], np.float64), x, side="right")),
    "standardize": _number(_standardize),
    "minmax": _number(_minmax),
    "log1p": _number(lambda x, e: np.sign(x) * np.log1p(np.abs(x))),
    "scale": _number(lambda x, e: x * e["factor"]),
    "clip": _number(lambda x, e: np.clip(x, e["low"], e["high"])),
}


def settled(encoder: Encoder, fitted: Mapping[str, float] | None) -> Encoder:
    """An encoder with the parameters that were fitted, as it computes with them.

    What never varied in the training rows tells nothing: it becomes 0, whatever new rows hold.
    """
    if encoder["name"] not in FITTED:
        return encoder
    names = FITTED[encoder["name"]]
    numbers = {name: float({**encoder, **(fitted or {})}[name]) for name in names}
    first, second = numbers.values()
    if second == (0.0 if encoder["name"] == "standardize" else first):
        return {"name": "clip", "low": 0.0, "high": 0.0}
    return {**encoder, **numbers}


def encode(values: Values, encoder: Encoder, fitted: Mapping[str, float] | None = None) -> Values:
    """What an encoder makes of values."""
    encoder = settled(encoder, fitted)
    return ENCODERS[encoder["name"]](values, encoder)
