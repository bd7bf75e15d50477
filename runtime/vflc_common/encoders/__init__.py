"""Encoders: a module each, which holds `ENCODER`. Others are entry points `vflc.encoders` of packages."""

from __future__ import annotations

from collections.abc import Iterable

from vflc_common.encoder import Encoder, EncoderSettings
from vflc_common.plugins import Records

ENCODERS: Records[Encoder] = Records("encoders", __name__, "ENCODER", Encoder)


def record(settings: EncoderSettings) -> Encoder:
    """The encoder that a link of a chain is."""
    return ENCODERS[settings["name"]]


def length(chain: Iterable[EncoderSettings]) -> int | None:
    """How many ids a row has at most after a chain; None where the data says."""
    fixed = [found(settings) for settings in chain if (found := record(settings).length) is not None]
    return fixed[-1] if fixed else None
