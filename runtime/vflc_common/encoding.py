"""How encoders compute: values on their way through a chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vflc_common.arrow import pa, pc
from vflc_common.encoder import DEFAULT, OTHER, Encoder, EncoderSettings
from vflc_common.numpy import np
from vflc_common.values import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray


Encode = Callable[[Values, EncoderSettings], Values]


def numbers_of(array: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """An array [n] as float64 [n], 0 where it is null, and where that is, bool [n].

    Raises:
        pa.ArrowInvalid: the array holds text.
    """
    if pa.types.is_string(array.type):
        raise pa.ArrowInvalid("text is used as a number")
    null = pc.is_null(array).to_numpy(zero_copy_only=False)
    numbers = array.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    return numbers, null


def of_numbers(function: Callable[[NDArray[np.float64], EncoderSettings], NDArray[Any]]) -> Encode:
    """`encode` from a function over numpy, [n] to [n]; what is not finite is missing."""

    def encode(values: Values, settings: EncoderSettings) -> Values:
        numbers, null = numbers_of(values.flat)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = function(numbers, settings)
        return values.with_flat(pa.array(result, mask=null | ~np.isfinite(result)))

    return encode


def of_texts(function: Callable[[pa.Array], pa.Array]) -> Encode:
    """`encode` from a function over an array of texts [n], which gives as many."""
    return lambda values, settings: values.with_flat(function(values.flat))


def without_empty(lists: pa.Array) -> Values:
    """Lists of texts [n] as the values of as many rows; empty texts are none."""
    flat, offsets = lists.values, lists.offsets.to_numpy().astype(np.int64)
    kept = pc.not_equal(flat, "")
    before = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
    return Values(flat.filter(kept), before[offsets])


def of_lookup(
    find: Callable[[pa.Array, EncoderSettings], pa.Array], position: Callable[[EncoderSettings, Any], int]
) -> Encode:
    """`encode` of a lookup, with its default.

    Args:
        find: from values [n] to their positions among those that it knows, int64 [n], null where it has none.
        position: of a value that it knows.
    """

    def encode(values: Values, settings: EncoderSettings) -> Values:
        found = find(values.flat, settings)
        unknown = pc.and_(pc.is_null(found), pc.is_valid(values.flat)).to_numpy(zero_copy_only=False)
        default = settings.get(DEFAULT)
        if default == OTHER:
            found = pc.add(found, 1).fill_null(0)
        elif default is not None:
            found = found.fill_null(position(settings, default["value"]))
        return Values(found, values.offsets, unknown, values.flat)

    return encode


def by_value(encoder: Encoder) -> Encode:
    """`encode` of an encoder that says it for one value alone."""

    def one_by_one(flat: pa.Array, settings: EncoderSettings) -> pa.Array:
        one, missing = encoder.python.function, encoder.python.takes == "missing"
        made = [one(v, settings) if v is not None or missing else None for v in flat.to_pylist()]
        if encoder.gives is None:
            return pa.array(made, flat.type)
        return pa.array(made, {"string": pa.string(), "float": pa.float64()}.get(encoder.gives, pa.int64()))

    lookup = encoder.lookup
    if lookup is None:
        return lambda values, settings: values.with_flat(one_by_one(values.flat, settings))
    return of_lookup(one_by_one, lambda settings, value: list(lookup.values(settings)).index(value))


class NotExpressed(Exception):
    """A format has no means for an encoder; the message says which and why."""


MISSING = -(2**63)
"""What a missing whole number is in an exported model."""
UNKNOWN = 1 << 30
"""An id that no table has: what stands for values that training would have refused."""
