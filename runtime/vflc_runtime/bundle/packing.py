"""How an edge is packed on the wire, as the manifest has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

from vflc_common.words import PackingKind

from vflc_runtime.bundle.reading import Json


@dataclass(frozen=True, slots=True)
class Packing:
    """The form of an edge on the wire, where it is not that of the graphs.

    Args:
        kind: `quantize` (`bits` bits a number, behind the largest magnitude of the row unless `by`
            names the edge that carries the least and the largest number of the batch), `range` (such
            an edge, which no graph reads), `top_k` (the positions of `k` numbers, then these),
            `masked` (fixed point and masks, modulo 2^64).
        row: sizes of a row in the graphs.
        by: of `quantize` the edge of the range, of `range` the edge that it is of.
        sum: the sum that a masked value enters.
        members: the edges of that sum, in the order by which masks have their signs.
        places: where these come from.
        range: the largest magnitude of a masked value.
    """

    kind: PackingKind
    row: tuple[int, ...]
    bits: int = 0
    by: str = ""
    k: int = 0
    sum: str = ""
    members: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    range: float = 0.0

    @property
    def levels(self) -> int:
        """Steps of the grid, from 0 to the largest magnitude or from the least number to the largest."""
        return int(2**self.bits if self.by else 2 ** (self.bits - 1)) - 1


def read_packing(item: Json) -> Packing:
    """Reads `packing` of an edge; VFL0613 where it is not as it must be."""
    kind = cast(PackingKind, item["as"].one_of(*get_args(PackingKind)))
    if kind == "range":
        return Packing(kind, (), by=item["of"].text())
    row = item["row"].shape()
    if kind == "quantize":
        bits = item["bits"].integer(2)
        if bits > 16:
            raise item["bits"].wrong("at most 16 bits")
        by = item.get("by")
        return Packing(kind, row, bits=bits, by="" if by is None else by.text())
    if kind == "top_k":
        return Packing(kind, row, k=item["k"].integer(1))
    members, places = item["members"].texts(), tuple(place.name() for place in item["places"])
    bound = item["range"].number()
    if len(members) < 2 or len(places) != len(members) or not 0 < bound < 2.0**41:
        raise item.wrong("a sum of two or more edges, and a range")
    return Packing(kind, row, sum=item["sum"].text(), members=members, places=places, range=bound)
