"""What crosses in another form than the graphs have it: compressed numbers, masked numbers.

The manifest says of each such edge how it is packed; its shape and type there are those on the wire.
Packing loses nothing: a receiver has the sender's value to the bit, or of masked values their sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from vflc_common.arrays import Array
from vflc_common.codec import Codec, Unreadable
from vflc_common.codecs import CODECS
from vflc_common.plugins import BrokenPlugin
from vflc_common.words import MASKED, RANGE

from vflc_runtime.bundle.packing import Packing
from vflc_runtime.bundle.plugins import unusable
from vflc_runtime.errors import PEER, Failure
from vflc_runtime.protect.masks import Masks, Sums


class Wire:
    """The edges of one place, packed and unpacked.

    Args:
        edges: what leaves the place and what comes to it.
        masks: of the masked sums that it adds to.
    """

    def __init__(self, edges: Mapping[str, Packing | None], masks: Masks, precision: str) -> None:
        self._packed = {name: packing for name, packing in edges.items() if packing is not None}
        self._masks, self._precision = masks, precision
        self._sums = Sums({name: p for name, p in self._packed.items() if p.kind == MASKED}, precision)

    def __bool__(self) -> bool:
        return bool(self._packed)

    def values(self, edges: Iterable[str]) -> Iterator[str]:
        """Those edges that carry a value of the graphs."""
        return (edge for edge in edges if edge not in self._packed or self._packed[edge].kind != RANGE)

    def pack(self, tensors: Mapping[str, Array], program: str) -> dict[str, Array]:
        """The values of a message as they leave, from [rows, …]: uint8 [rows, bytes] where they are packed.

        Ranges [2] are added beside those that are packed by them.
        """
        left: dict[str, Array] = {}
        for edge, tensor in tensors.items():
            packing = self._packed.get(edge)
            if packing is None:
                left[edge] = tensor
            elif packing.kind == MASKED:
                left[edge] = self._masks.mask(edge, packing, tensor, program)
            else:
                left[edge] = pack(packing, tensor)
                if packing.by:
                    left[packing.by] = span(tensor)
        return left

    def unpack(self, edge: str, tensors: Mapping[str, Array]) -> Array:
        """One value of a message as graphs read it, [rows, …].

        Of the values of a masked sum the one that comes last is the sum, and those before it are 0:
        they enter nothing else.

        Raises:
            Failure: VFL0676, masks do not cancel; VFL0677, nobody can have packed this.
        """
        packing, tensor = self._packed.get(edge), tensors[edge]
        if packing is None:
            return tensor
        if packing.kind == MASKED:
            return self._sums.add(edge, packing, tensor)
        return unpack(edge, packing, tensor, self._precision, tensors.get(packing.by))

    def reset(self) -> None:
        """Forgets sums that did not come to their end."""
        self._sums.reset()


def pack(packing: Packing, tensor: Array) -> Array:
    """Rows of numbers as rows of bytes, [rows, bytes], of an edge that has a codec."""
    rows = np.ascontiguousarray(tensor).reshape(len(tensor), -1)
    with _using(packing) as codec:
        return codec.pack(packing.form(str(rows.dtype)), rows, span(rows) if packing.by else None)


def unpack(edge: str, packing: Packing, tensor: Array, precision: str, between: Array | None = None) -> Array:
    """The rows of numbers, [rows, …], that `pack` made bytes of, uint8 [rows, bytes].

    `between` are the least and the largest number of the batch, [2], where it is packed by them.

    Raises:
        Failure: VFL0677, `pack` cannot have made these.
    """
    packed = np.ascontiguousarray(tensor)
    try:
        if packing.by and between is None:
            raise Unreadable("its range is missing")
        with _using(packing) as codec:
            made = codec.unpack(packing.form(precision), packed, between, np.dtype(precision))
            return made.reshape(len(packed), *packing.row)
    except Unreadable as error:
        help = "run the same bundle and the same version of vflc on both sides"
        text = f"edge {edge!r} cannot be unpacked: {error}"
        raise Failure("VFL0677", text, help, exit_code=PEER) from None


def span(tensor: Array) -> Array:
    """The least and the largest number of a batch, [2]; zeros where it has none."""
    return np.array([tensor.min(), tensor.max()] if tensor.size else [0, 0], tensor.dtype)


@contextmanager
def _using(packing: Packing) -> Iterator[Codec]:
    """Its codec; VFL0695 where another package's fails within."""
    try:
        with CODECS.using(packing.kind, Unreadable) as codec:
            yield codec
    except BrokenPlugin as broken:
        raise unusable(broken) from broken
