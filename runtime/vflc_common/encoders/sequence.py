"""The last ids of each row."""

from __future__ import annotations

from typing import Any

from vflc_common.arrow import pa
from vflc_common.encoder import Encoder, EncoderParameter, EncoderSettings, Python, whole
from vflc_common.numpy import np
from vflc_common.values import Values

LONGEST = 100_000
"""Values of a row that may be kept."""


def encode(values: Values, settings: EncoderSettings) -> Values:
    """The last `max` values of each row, in their order."""
    assert values.offsets is not None, "a sequence follows a split"
    lengths = np.diff(values.offsets)
    places = np.arange(len(values.flat)) - np.repeat(values.offsets[1:], lengths)  # from the row's end
    kept = places >= -settings["max"]
    chosen = pa.array(kept)
    return Values(
        values.flat.filter(chosen),
        np.concatenate([[0], np.cumsum(np.minimum(lengths, settings["max"]))]),
        None if values.unknown is None else values.unknown[kept],
        None if values.looked_up is None else values.looked_up.filter(chosen),
    )


def sequence(ids: list[Any], step: EncoderSettings) -> list[Any]:
    return ids[-step["max"] :]


ENCODER = Encoder(
    name="sequence",
    doc="Keeps the last `max` ids of each row, in order, and fixes the length of the axis.",
    step="the last `max` ids; the axis is that long",
    reads=("ids",),
    parameters=(EncoderParameter("max", whole(1, LONGEST), needed=True),),
    python=Python(sequence, "row"),
    encode=encode,
    length=lambda settings: int(settings["max"]),
    misfit='put it after an encoder of several ids per row: split("|") -> hash(1000) -> sequence(max = 20)',
)
