"""Encoder chains: raw columns become ids and numbers.

All encoders are functions of one value, so a text column is encoded over its distinct values and
spread out again; nothing loops over rows. `hash`, `bucketize` and `vocab` with unknown values first
give the ids of Keras's `Hashing`, `Discretization`, `StringLookup` and `IntegerLookup`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import farmhash
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vflc_runtime.data.fitting import Moments
from vflc_runtime.data.siphash import siphash
from vflc_runtime.errors import Failure

Encoder = Mapping[str, Any]
State = list[dict[str, float] | None]
"""What a chain has fitted: of each encoder its parameters, or None."""

FITTED = {"standardize": ("mean", "std"), "minmax": ("low", "high")}
EXAMPLES = 5


@dataclass
class Counts:
    """What a chain could not place: unknown values (with examples) and missing ones."""

    unknown: int = 0
    missing: int = 0
    examples: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {"unknown": self.unknown, "missing": self.missing, "examples": self.examples}


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


class Chain:
    """The encoders of one column.

    Args:
        name: `party.column`, for messages and reports.
        column: the column as in encoders.json: `encoders`, `shape`, `rows` and `where` are read.
        state: what was fitted before; None to fit.
    """

    def __init__(self, name: str, column: Mapping[str, Any], state: State | None = None) -> None:
        self.name, self.shape, self.where = name, column["shape"], column.get("where")
        self.encoders: Sequence[Encoder] = column.get("encoders", ())
        self.rows: int | None = column.get("rows")
        self.counts = Counts()
        self.state: State = list(state) if state is not None else [None] * len(self.encoders)
        self._moments: Moments | None = None

    @property
    def unfitted(self) -> int | None:
        """The position of the first encoder whose parameters must still be fitted."""
        for i, encoder in enumerate(self.encoders):
            needed = FITTED.get(encoder["name"], ())
            if self.state[i] is None and any(encoder.get(p) is None for p in needed):
                return i
        return None

    def observe(self, values: pa.Array, keys: pa.Array) -> None:
        """Takes in training rows for the first encoder that is not fitted."""
        if self._moments is None:
            self._moments = Moments()
        encoded = self._run(Values(values), keys, self.encoders[: self.unfitted], None)
        numbers, null = _numbers(encoded.flat)
        self._moments.add(numbers[~null])

    def settle(self) -> None:
        """Fits the first encoder that is not fitted to the rows observed.

        Raises:
            Failure: VFL0610 where they hold no value at all.
        """
        at = self.unfitted
        if at is None:
            return
        moments, self._moments = self._moments, None
        if moments is None or not moments.count:
            raise Failure(
                "VFL0610",
                f"{self.name} has no values in the training rows to fit {self.encoders[at]['name']} to",
                "give the parameters in the spec, or use missing(…) before it",
                self.where,
            )
        encoder = self.encoders[at]
        fitted = {"mean": moments.mean, "std": moments.std, "low": moments.low, "high": moments.high}
        given = {name: encoder.get(name) for name in FITTED[encoder["name"]]}
        self.state[at] = {name: fitted[name] if v is None else float(v) for name, v in given.items()}

    def encode(self, values: pa.Array, keys: pa.Array) -> NDArray[np.generic]:
        """Encodes rows.

        Args:
            values: string, int64, double or bool [n], null where missing; not finite is missing too.
            keys: the rows' keys [n], for messages.

        Returns:
            int32 [n] for shape "id"; int32 [n, L] padded with -1 for "ids", L the longest row here;
            float64 [n, 1] for "number".

        Raises:
            Failure: VFL0603, VFL0604, VFL0610.
        """
        values = _present(values)
        self.counts.missing += values.null_count
        distinct, codes = self._distinct(values)
        done = self._run(Values(distinct), keys, self.encoders, codes)
        self._count_unknown(done, codes)
        if done.offsets is not None:
            return _padded(self._ids(done, keys, codes), done.offsets, codes)
        if done.flat.null_count:
            self._refuse_missing(done.flat, keys, codes)
        if self.shape == "number":
            numbers, _ = _numbers(done.flat)
            return _spread(numbers, codes).reshape(-1, 1)
        return _spread(self._ids(done, keys, codes), codes)

    def _distinct(self, values: pa.Array) -> tuple[pa.Array, NDArray[np.int64] | None]:
        """Distinct values and each row's position among them; None where that would not pay."""
        costly = any(encoder["name"] in ("hash", "vocab") for encoder in self.encoders)
        if not (pa.types.is_string(values.type) or (pa.types.is_integer(values.type) and costly)):
            return values, None
        encoded = values.dictionary_encode()
        dictionary = encoded.dictionary
        if values.null_count:
            dictionary = pa.concat_arrays([dictionary, pa.nulls(1, dictionary.type)])
        codes = encoded.indices.fill_null(len(dictionary) - 1)
        return dictionary, codes.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)

    def _run(
        self,
        values: Values,
        keys: pa.Array,
        encoders: Sequence[Encoder],
        codes: NDArray[np.int64] | None,
    ) -> Values:
        for encoder, fitted in zip(encoders, self.state, strict=False):
            try:
                result = ENCODERS[encoder["name"]](values, {**encoder, **(fitted or {})})
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, ValueError) as error:
                raise Failure(
                    "VFL0603",
                    f"{self.name} cannot be encoded by {encoder['name']}: {str(error).splitlines()[0]}",
                    "check the column's declared type against its encoders",
                    self.where,
                ) from None
            if encoder["name"] in LOOKUPS and result.unknown is not None and encoder.get("default") is None:
                self._refuse_unknown(encoder, values, result.unknown, keys, codes)
            values = result
        return values

    def _ids(self, values: Values, keys: pa.Array, codes: NDArray[np.int64] | None) -> NDArray[np.int32]:
        """The flat values as ids; checks that they lie in the column's range."""
        numbers, _ = _numbers(values.flat)
        outside = (numbers < 0) | (numbers != np.floor(numbers))
        outside |= numbers >= (np.iinfo(np.int32).max if self.rows is None else self.rows)
        if outside.any():
            at = int(np.flatnonzero(outside)[0])
            raise Failure(
                "VFL0604",
                f"{self.name} holds {numbers[at]:.15g} in the row with key "
                f"{_key(at, values.offsets, keys, codes)}, which is not an id from 0 to "
                f"{(self.rows or np.iinfo(np.int32).max) - 1}",
                "use index(n, default = other) or vocab(…) for values outside the range",
                self.where,
            )
        return numbers.astype(np.int32)

    def _refuse_unknown(
        self,
        encoder: Encoder,
        before: Values,
        unknown: NDArray[np.bool_],
        keys: pa.Array,
        codes: NDArray[np.int64] | None,
    ) -> None:
        found = np.flatnonzero(unknown)
        if not len(found):
            return
        values = dict.fromkeys(str(before.flat[int(i)].as_py()) for i in found[:100])
        examples = ", ".join(repr(value) for value in list(values)[:EXAMPLES])
        known = f"vocab of {len(encoder['values'])} values" if encoder["name"] == "vocab" else "index"
        raise Failure(
            "VFL0604",
            f"{self.name} holds values that its {known} does not: {examples}"
            f"; first in the row with key {_key(int(found[0]), before.offsets, keys, codes)}",
            "add the values, or give a default: default = other keeps an id for all unknown values",
            self.where,
        )

    def _refuse_missing(self, flat: pa.Array, keys: pa.Array, codes: NDArray[np.int64] | None) -> None:
        null = pc.is_null(flat).to_numpy(zero_copy_only=False)
        rows = _spread(null, codes)
        raise Failure(
            "VFL0610",
            f"{self.name} has no value in {int(rows.sum())} of {len(rows)} rows, "
            f"first in the row with key {keys[int(np.argmax(rows))].as_py()!r}",
            "begin the encoders with missing(value) to fill such values, or leave the rows out",
            self.where,
        )

    def _count_unknown(self, done: Values, codes: NDArray[np.int64] | None) -> None:
        if done.unknown is None or done.looked_up is None:
            return
        each = done.unknown.astype(np.int64)
        if done.offsets is not None:
            each = np.diff(np.concatenate([[0], np.cumsum(each)])[done.offsets])
        times = np.ones(len(each), np.int64) if codes is None else np.bincount(codes, minlength=len(each))
        self.counts.unknown += int((each * times).sum())
        for at in np.flatnonzero(done.unknown):
            if len(self.counts.examples) == EXAMPLES:
                break
            example = str(done.looked_up[int(at)].as_py())
            if example not in self.counts.examples:
                self.counts.examples.append(example)


def _present(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int64())
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return values


def _spread(values: NDArray[Any], codes: NDArray[np.int64] | None) -> NDArray[Any]:
    return values if codes is None else values[codes]


def _key(at: int, offsets: NDArray[np.int64] | None, keys: pa.Array, codes: NDArray[np.int64] | None) -> str:
    """The key of the first row that holds the flat value at `at`."""
    if offsets is not None:
        at = int(np.searchsorted(offsets, at, side="right")) - 1
    if codes is not None:
        at = int(np.argmax(codes == at))
    return repr(keys[at].as_py())


def _padded(
    ids: NDArray[np.int32], offsets: NDArray[np.int64], codes: NDArray[np.int64] | None
) -> NDArray[np.int32]:
    lengths = np.diff(offsets)
    block = np.full((len(lengths), max(int(lengths.max(initial=0)), 1)), -1, np.int32)
    block[np.arange(block.shape[1]) < lengths[:, None]] = ids
    return _spread(block, codes)


def _numbers(array: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """An array as float64, 0 where it is null, and where it is."""
    if pa.types.is_string(array.type):
        raise Failure("VFL0603", "text is used as a number", "declare the column int or float")
    null = pc.is_null(array).to_numpy(zero_copy_only=False)
    numbers = array.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    return numbers, null


# --- the encoders: each maps the flat values, null to null ------------------------------------


def _number(
    function: Callable[[NDArray[np.float64], Encoder], NDArray[Any]],
) -> Callable[[Values, Encoder], Values]:
    """An encoder of numbers from a function over numpy; what is not finite is missing."""

    def encode(values: Values, encoder: Encoder) -> Values:
        numbers, null = _numbers(values.flat)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = function(numbers, encoder)
        return replace(values, flat=pa.array(result, mask=null | ~np.isfinite(result)))

    return encode


def _missing(values: Values, encoder: Encoder) -> Values:
    value, flat = encoder["value"], values.flat
    if pa.types.is_string(flat.type):
        return values.mapped(lambda a: a.fill_null(str(value)))
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
    if pa.types.is_floating(flat.type):
        known = pa.array([float(v) for v in listed], pa.float64())
    elif pa.types.is_integer(flat.type) and all(isinstance(v, int) for v in listed):
        known = pa.array(listed, pa.int64())
    else:
        flat, known = flat.cast(pa.string()), pa.array([str(v) for v in listed], pa.string())
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


def _standardize(x: NDArray[np.float64], encoder: Encoder) -> NDArray[np.float64]:
    mean, std = float(encoder["mean"]), float(encoder["std"])
    return (x - mean) / (std or 1.0)


def _minmax(x: NDArray[np.float64], encoder: Encoder) -> NDArray[np.float64]:
    low, high = float(encoder["low"]), float(encoder["high"])
    return (x - low) / ((high - low) or 1.0)


LOOKUPS = {"vocab", "index"}
ENCODERS: dict[str, Callable[[Values, Encoder], Values]] = {
    "missing": _missing,
    "strip": _strip,
    "lower": _lower,
    "split": _split,
    "hash": _hash,
    "vocab": _vocab,
    "index": _index,
    "bucketize": _number(lambda x, e: np.searchsorted(np.asarray(e["edges"], np.float64), x, side="right")),
    "standardize": _number(_standardize),
    "minmax": _number(_minmax),
    "log1p": _number(lambda x, e: np.sign(x) * np.log1p(np.abs(x))),
    "scale": _number(lambda x, e: x * e["factor"]),
    "clip": _number(lambda x, e: np.clip(x, e["low"], e["high"])),
}
