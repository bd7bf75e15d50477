"""Numbers on a circle: the hour of a day, the month of a year."""

from __future__ import annotations

import math

from vflc_common.arrow import pa
from vflc_common.encoder import ArgumentType, Encoder, EncoderParameter, EncoderSettings, Python, is_number
from vflc_common.encoding import numbers_of
from vflc_common.numpy import np
from vflc_common.values import Values


def encode(values: Values, settings: EncoderSettings) -> Values:
    """Pairs as lists of two numbers [n]."""
    numbers, null = numbers_of(values.flat)
    angles = 2 * np.pi * (np.remainder(numbers, settings["period"]) / settings["period"])
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return values.with_flat(pa.FixedSizeListArray.from_arrays(pairs.reshape(-1), 2, mask=pa.array(null)))


def cyclic(value: float, step: EncoderSettings) -> list[float]:
    angle = 2 * math.pi * (float(value) % step["period"] / step["period"])
    return [math.sin(angle), math.cos(angle)]


ENCODER = Encoder(
    name="cyclic",
    doc="A number that comes round again, such as an hour of 24, as two numbers: the sine and the cosine of "
    "its angle on a circle of `period`. 23 is then as near to 0 as 1 is. It ends a chain.",
    step="sine and cosine of 2π times the number divided by `period`",
    reads=("int", "float"),
    gives="pair",
    parameters=(
        EncoderParameter(
            "period", ArgumentType("a number above 0", lambda value: is_number(value) and value > 0), True
        ),
    ),
    python=Python(cyclic),
    encode=encode,
    known_as={"sin cos sine cosine periodic sincos circular": "write hour -> cyclic(24)"},
)
