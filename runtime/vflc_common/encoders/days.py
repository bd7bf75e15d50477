"""Days from a date to a moment."""

from __future__ import annotations

from typing import Any

from vflc_common.arrow import pa, pc
from vflc_common.dates import DAY, MISFIT, moment_of
from vflc_common.encoder import ArgumentType, Encoder, EncoderParameter, EncoderSettings, Python
from vflc_common.numpy import np
from vflc_common.values import Values


def is_moment(value: Any) -> bool:
    """Whether a value is the text of a date or timestamp."""
    return isinstance(value, str) and moment_of(value) is not None


def days(value: Any, step: EncoderSettings) -> float:
    since = moment_of(step.get("since") or "1970-01-01")
    return float((value - since) / DAY)


def encode(values: Values, settings: EncoderSettings) -> Values:
    since = moment_of(settings["since"] or "1970-01-01")
    null = pc.is_null(values.flat).to_numpy(zero_copy_only=False)
    moments = values.flat.fill_null(0).to_numpy(zero_copy_only=False)
    return values.with_flat(pa.array((moments - since) / np.float64(DAY), mask=null))


ENCODER = Encoder(
    name="days",
    doc='The days from `since`, such as `"2020-01-01"`, to a date or timestamp: a number, negative before '
    "it. A part of a day is a fraction. Without `since`, from 1970-01-01.",
    step="the days from `since`, or from 1970-01-01, to the moment; parts of a day are fractions",
    reads=("date", "timestamp"),
    gives="float",
    parameters=(EncoderParameter("since", ArgumentType('a date such as "2020-01-31"', is_moment)),),
    python=Python(days),
    encode=encode,
    keeps_units=True,
    misfit=MISFIT,
    known_as={"age elapsed since epoch days_since": 'write days(since = "2020-01-01")'},
)
