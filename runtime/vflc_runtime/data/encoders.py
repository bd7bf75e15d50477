"""What the encoders of a chain make of values; what one of another package gives is checked.

`hash`, `bucketize` and `vocab` with unknown values first give the ids of Keras's `Hashing`,
`Discretization`, `StringLookup` and `IntegerLookup`. An encoder raises Arrow's errors where it is given
text for numbers or the like; `chain` says which column that was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from vflc_common.encoder import EncoderSettings, Fit, is_number, is_value
from vflc_common.encoders import ENCODERS, record
from vflc_common.encoding import by_value
from vflc_common.values import Values
from vflc_common.words import vector_width

HALF = re.compile("[\ud800-\udfff]")


def settled(encoder: EncoderSettings, fitted: Mapping[str, Any] | None) -> EncoderSettings:
    """An encoder with the parameters that were fitted, as it computes with them."""
    fit = record(encoder).fit
    if fit is None:
        return encoder
    known = {**encoder, **(fitted or {})}
    return fit.settled({**encoder, **{name: plain(known[name], fit) for name in fit.neutral}})


def plain(value: Any, fit: Fit) -> Any:
    """What an encoder was fitted to, as JSON has it: a number, or a list of numbers; of values also texts."""
    if fit.of == "values":
        return value
    return [float(each) for each in value] if isinstance(value, list) else float(value)


def may_be_fitted(column: Mapping[str, Any], state: Any) -> bool:
    """Whether a column's encoders may have been fitted to this, which a file says."""
    chain, width = column.get("encoders", ()), vector_width(column.get("type"))
    if not isinstance(state, list) or len(state) != len(chain):
        return False
    return all(_may_be(encoder, each, width) for encoder, each in zip(chain, state, strict=True))


def _may_be(encoder: EncoderSettings, fitted: Any, width: int | None) -> bool:
    fit = record(encoder).fit
    if fitted is None:
        return not record(encoder).unfitted(encoder)
    if fit is None or not isinstance(fitted, dict) or fitted.keys() != fit.neutral.keys():
        return False
    takes = {parameter.name: parameter for parameter in record(encoder).parameters}
    fits = _is_text_or_number if fit.of == "values" else is_number
    for name, value in fitted.items():
        parts = [value] if width is None else value
        if not isinstance(parts, list) or len(parts) != (width or 1):
            return False
        for part in parts:
            if part is None or takes[name].wrong(record(encoder).name, part) is not None:
                return False
            found = part if isinstance(part, list) else [part]
            if not all(map(fits, found)):
                return False
            if len({isinstance(each, str) for each in found}) > 1:
                return False
    return True


def _is_text_or_number(value: Any) -> bool:
    """Whether a table may have the value; half of a character is no text."""
    return is_value(value) and not (isinstance(value, str) and HALF.search(value))


def encode(values: Values, encoder: EncoderSettings, fitted: Mapping[str, Any] | None = None) -> Values:
    """What an encoder makes of values.

    Raises:
        ValueError: one of another package gave something else than an encoder gives.
    """
    encoder = settled(encoder, fitted)
    found = record(encoder)
    made = (found.encode or by_value(found))(values, encoder)
    if ENCODERS.plugin(found.name) is not None:
        _check(made, values, found.length is not None or found.gives == "strings")
        made = made.with_flat(present(made.flat))
    return made


def present(values: pa.Array) -> pa.Array:
    """Values [n] as encoders take them: truth is 1 or 0, and what is not finite is missing."""
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int64())
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return values


def _check(made: object, given: Values, widths: bool) -> None:
    """ValueError where an encoder has lost rows, or values that it may not lose."""
    if not isinstance(made, Values) or not isinstance(made.flat, pa.Array):
        raise ValueError(f"gave {type(made).__name__}, no values")
    if not widths:
        if len(made.flat) != len(given.flat) or made.offsets is not given.offsets:
            raise ValueError(f"gave {len(made.flat)} values for {len(given.flat)}")
        return
    rows, offsets = len(given.flat) if given.offsets is None else len(given.offsets) - 1, made.offsets
    if not isinstance(offsets, np.ndarray) or offsets.shape != (rows + 1,) or (np.diff(offsets) < 0).any():
        raise ValueError(f"gave no values for each of {rows} rows")
    if offsets[0] != 0 or offsets[-1] != len(made.flat):
        raise ValueError(f"gave {len(made.flat)} values, of which rows have {offsets[-1]}")
