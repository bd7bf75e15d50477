"""One party's table, encoded: fitted to its training rows, and written block by block."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.arrays import Indices
from vflc_common.expressions import columns as columns_read

from vflc_runtime.data import expressions
from vflc_runtime.data.aligned import Aligned
from vflc_runtime.data.chain import ChainState, EncoderChain
from vflc_runtime.data.column_buffer import ColumnBuffer, Room
from vflc_runtime.data.groups import GroupChain
from vflc_runtime.data.keys import readable
from vflc_runtime.data.spread import ABSENT
from vflc_runtime.data.table import WIDTH
from vflc_runtime.errors import Failure

NUMBERS = ("number", "vector")
"""Shapes of columns that are numbers; the others are ids."""
BLOCK = 1 << 17
"""Rows encoded at a time."""
Chosen = Callable[[int, int], Indices]
"""Of a block's first row, and how many it has, those to fit encoders to, counted from its first."""


class EncodedTable:
    """What is read and encoded of one party's table."""

    def __init__(
        self,
        party: str,
        info: Mapping[str, Any],
        labels: bool,
        only: Collection[str] | None,
        state: Mapping[str, ChainState] | None,
        deciding: tuple[str, str] | None,
        fit_rest: bool = False,
    ) -> None:
        self.party = party
        self._deciding = deciding[1] if deciding is not None and deciding[0] == party else None
        self.columns = {column["name"]: column for column in info["columns"]}
        self.chains: dict[str, EncoderChain] = {}
        for name, column in self.columns.items():
            id = f"{party}.{name}"
            wanted = id in only if only is not None else labels or column["kind"] == "feature"
            if "shape" in column and wanted:
                make = GroupChain if column["kind"] == "group" else EncoderChain
                self.chains[id] = make(id, column, _saved(id, column, state, fit_rest))
        names = {raw for id in self.chains for raw in self._reads(id.removeprefix(f"{party}."))}
        names |= set() if self._deciding is None else self._reads(self._deciding)
        self.raw = [column for name, column in self.columns.items() if name in names]

    def _reads(self, name: str) -> set[str]:
        """The columns of the table that a column is made of."""
        tree = self.columns[name].get("value")
        if tree is None:
            return {name}
        return {raw for used in columns_read(tree) for raw in self._reads(used)}

    def decided(self, aligned: Aligned) -> pa.Array:
        """The column that decides which rows are kept for validation, [rows]."""
        assert self._deciding is not None
        parts = []
        for keys, batch in aligned.batches(self.party, BLOCK, self._reads(self._deciding)):
            known = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
            parts.append(self._value(self._deciding, known, len(keys)))
        found, at = pa.chunked_array(parts).combine_chunks(), aligned.at.get(self.party)
        return found if at is None else found.take(pa.array(at, mask=at == ABSENT))

    def fit(self, aligned: Aligned, chosen: Chosen | None, number: np.dtype[Any]) -> None:
        """Fits encoder after encoder until none is left, each in one pass over the rows that are `chosen`."""
        while unfitted := [c for c in self.chains.values() if c.unfitted is not None]:
            for some in _some(unfitted):
                for start, keys, values in self._blocks(aligned, some):
                    rows = None if chosen is None else pa.array(chosen(start, len(keys)))
                    seen = keys if rows is None else keys.take(rows)
                    for chain in some:
                        column = values(chain)
                        chain.observe(column if rows is None else column.take(rows), seen)
                for chain in some:
                    chain.settle()
        for chain in self.chains.values():
            _check_undone(chain, number)

    def encode(
        self, parts: Sequence[Aligned], folder: Path, room: Room, number: np.dtype[Any]
    ) -> dict[str, NDArray[Any]]:
        """Encodes the inputs of this table, [rows, …] each; those that find no `room` into `folder`."""
        buffers = {}
        for i, (id, chain) in enumerate(self.chains.items()):
            dtype = number if chain.shape in NUMBERS else np.dtype(np.int32)
            buffers[id] = ColumnBuffer(folder / f"{self.party}.{i}", dtype, room)
        for some in _some(list(self.chains.values())):
            blocks = (block for part in parts for block in self._blocks(part, some))
            for _, keys, values in blocks:
                for chain in some:
                    block = chain.encode(values(chain), keys)
                    block = block if chain.shape not in NUMBERS else _held(block, number, chain, keys)
                    buffers[chain.name].append(block)
        return {id: buffer.finish() for id, buffer in buffers.items()}

    def _blocks(
        self, aligned: Aligned, chains: Iterable[EncoderChain]
    ) -> Iterator[tuple[int, pa.Array, Callable[[EncoderChain], pa.Array]]]:
        """Of each block its first row, its keys, and a function that gives the column of one of `chains`."""
        start = 0
        names = {raw for c in chains for raw in self._reads(c.name.removeprefix(f"{self.party}."))}
        for keys, batch in aligned.batches(self.party, BLOCK, names):
            known = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}

            def values(
                chain: EncoderChain, known: dict[str, pa.Array] = known, rows: int = len(keys)
            ) -> pa.Array:
                return self._value(chain.name.removeprefix(f"{self.party}."), known, rows)

            yield start, keys, values
            start += len(keys)

    def _value(self, name: str, known: dict[str, pa.Array], rows: int) -> pa.Array:
        """A column's values; what an expression gives is kept for the next that uses it."""
        if name not in known:
            column = self.columns[name]
            used = {u: self._value(u, known, rows) for u in columns_read(column["value"])}
            known[name] = expressions.evaluate(column["value"], used, rows, column.get("where"))
        return known[name]


def _some(chains: Sequence[EncoderChain]) -> Iterator[Sequence[EncoderChain]]:
    """As many chains at a time as their columns fit in memory, however many there are."""
    for i in range(0, len(chains), WIDTH):
        yield chains[i : i + WIDTH]


def _held(block: NDArray[Any], number: np.dtype[Any], chain: EncoderChain, keys: pa.Array) -> NDArray[Any]:
    """Numbers [n, 1] in the precision of the model; VFL0506 where one of them is too large for it."""
    try:
        with np.errstate(over="raise"):
            return block.astype(number, copy=False)
    except FloatingPointError:
        at, component = np.unravel_index(int(np.argmax(np.abs(block))), block.shape)
        key = readable(keys[int(at)].as_py())
        raise Failure(
            "VFL0506",
            f"{chain.name} is {block[at, component]:g} in the row with key {key!r}, "
            f"which {number} cannot hold",
            "scale it, as by -> log1p or -> standardize, or compile with precision float64",
            chain.where,
        ) from None


def _check_undone(chain: EncoderChain, number: np.dtype[Any]) -> None:
    """VFL0506 where what a label's encoders were fitted to, which predictions are undone by, is too large."""
    if chain.kind != "label":
        return
    for encoder, fitted in zip(chain.encoders, chain.state, strict=True):
        for name, value in (fitted or {}).items():
            if isinstance(value, float) and abs(value) > float(np.finfo(number).max):
                raise Failure(
                    "VFL0506",
                    f"`{name}` of {encoder['name']}, fitted to {chain.name}, is {value:g}, "
                    f"which {number} cannot hold",
                    "scale the label first, as by -> log1p, or compile with precision float64",
                    chain.where,
                )


def these(chosen: Indices, start: int, rows: int) -> Indices:
    """Those of `chosen`, [n] in order, that are in a block, counted from its first row; as `Chosen`."""
    first, last = np.searchsorted(chosen, [start, start + rows])
    return chosen[first:last] - start


def others(kept: Indices, start: int, rows: int) -> Indices:
    """All but those of `kept`, [n] in order, that are in a block; as `Chosen`."""
    mask = np.ones(rows, bool)
    mask[these(kept, start, rows)] = False
    return np.flatnonzero(mask)


def _saved(
    id: str, column: Mapping[str, Any], state: Mapping[str, ChainState] | None, fit_rest: bool
) -> ChainState | None:
    """What was fitted for an input before; None where it is to be fitted now."""
    if state is None:
        return None
    saved = state.get(id)
    if saved is None and not fit_rest and EncoderChain(id, column).unfitted is not None:
        raise Failure(
            "VFL0613",
            f"the run has no fitted encoder parameters for {id}",
            "train again: the run was made from another spec",
            column.get("where"),
        )
    return saved
