"""How an edge is packed on the wire, as the manifest has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from vflc_common.codec import RowFormat
from vflc_common.codecs import CODECS
from vflc_common.plugins import Plugin
from vflc_common.words import BYTES, MASKED, RANGE

from vflc_runtime.bundle.plugins import load
from vflc_runtime.bundle.reading import Json


@dataclass(frozen=True, slots=True)
class Packing:
    """The form of an edge on the wire, where it is not that of the graphs.

    Args:
        kind: the name of a codec, or `range` (the least and the largest number of the batch, by which
            another edge is packed, and which no graph reads), or `masked` (fixed point and masks, modulo
            2^64).
        row: sizes of a row in the graphs.
        settings: of a codec.
        by: of a codec the edge of the range, if any, of `range` the edge that it is of.
        sum: the sum that a masked value enters.
        members: the edges of that sum, in the order by which masks have their signs.
        places: where these come from.
        range: the largest magnitude of a masked value.
    """

    kind: str
    row: tuple[int, ...]
    settings: Mapping[str, int] = field(default_factory=dict)
    by: str = ""
    sum: str = ""
    members: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    range: float = 0.0

    def form(self, precision: str) -> RowFormat:
        """What its codec must know of the rows."""
        return RowFormat(self.settings, prod(self.row), BYTES[precision])


def read_packing(edge: Json, precision: str, plugins: Sequence[Plugin]) -> Packing | None:
    """Reads `packing` of an edge; VFL0613 where it is not as it must be, or the edge is not of its size."""
    item = edge.get("packing")
    if item is None:
        return None
    kind = item["as"].text()
    if kind == RANGE:
        return Packing(kind, (), by=item["of"].text())
    row = item["row"].shape()
    if kind == MASKED:
        return _read_masked(item, row)
    if kind not in CODECS:
        raise item["as"].wrong(f"a codec, {RANGE!r} or {MASKED!r}")
    load(CODECS, (kind,), plugins)
    codec = CODECS[kind]
    settings = {}
    for name, (least, most) in codec.settings.items():
        settings[name] = item[name].integer(least)
        if settings[name] > most:
            raise item[name].wrong(f"at most {most}")
    by = item.get("by") if codec.by_range else None
    packing = Packing(kind, row, settings, "" if by is None else by.text())
    size = codec.bytes(packing.form(precision), by is not None)
    if edge["shape"].value != ["batch", size] or edge["dtype"].value != "uint8":
        raise edge["shape"].wrong(f"{size} bytes a row, as it is packed")
    return packing


def _read_masked(item: Json, row: tuple[int, ...]) -> Packing:
    members, places = item["members"].texts(), tuple(place.name() for place in item["places"])
    bound = item["range"].number()
    if len(members) < 2 or len(places) != len(members) or not 0 < bound < 2.0**41:
        raise item.wrong("a sum of two or more edges, and a range")
    return Packing(MASKED, row, sum=item["sum"].text(), members=members, places=places, range=bound)
