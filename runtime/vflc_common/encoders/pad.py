"""As many texts in each row."""

from __future__ import annotations

from typing import Any

from vflc_common.arrow import pa
from vflc_common.encoder import Encoder, EncoderParameter, EncoderSettings, Python, whole
from vflc_common.encoders.sequence import LONGEST
from vflc_common.numpy import np
from vflc_common.values import Values


def encode(values: Values, settings: EncoderSettings) -> Values:
    """The first `max` values of each row, and empty texts up to as many."""
    assert values.offsets is not None, "padding follows a split"
    starts, lengths = values.offsets[:-1], np.diff(values.offsets)
    places = np.arange(settings["max"])
    absent = places >= lengths[:, None]
    at = np.where(absent, 0, starts[:, None] + places).reshape(-1)
    taken = values.flat.take(pa.array(at, pa.int64(), mask=absent.reshape(-1)))
    return Values(taken.fill_null(""), np.arange(len(starts) + 1) * settings["max"])


def pad(texts: list[Any], step: EncoderSettings) -> list[Any]:
    return (texts + [""] * step["max"])[: step["max"]]


ENCODER = Encoder(
    name="pad",
    doc="Keeps the first `max` texts of each row, fills up with empty ones and fixes the length of the axis: "
    'list the empty text in the vocab behind it: `pad(20) -> vocab("", "good", "bad", default = "")`.',
    step="the first `max` texts, and empty text up to as many; the axis is that long",
    reads=("strings",),
    parameters=(EncoderParameter("max", whole(1, LONGEST), needed=True),),
    python=Python(pad, "row"),
    encode=encode,
    length=lambda settings: int(settings["max"]),
    misfit='put it before the lookup: words -> pad(max = 20) -> vocab("", "good", "bad", default = "")',
)
