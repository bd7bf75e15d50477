"""A data set ready for training: sources opened, aligned by key and encoded."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from vflc_common.arrays import Indices

from vflc_runtime.data.align import look_at_tables, open_tables
from vflc_runtime.data.aligned import Aligned
from vflc_runtime.data.chain import ChainState
from vflc_runtime.data.column_buffer import Room
from vflc_runtime.data.encoded import BLOCK, Chosen, EncodedTable, others, these
from vflc_runtime.data.kept_keys import kept_keys
from vflc_runtime.data.source import TableSource, unreadable
from vflc_runtime.data.spread import ABSENT, Batch, gathered
from vflc_runtime.errors import Failure
from vflc_runtime.memory import forget
from vflc_runtime.scratch import scratch_folder

Encoders = Mapping[str, Any]
"""The content of encoders.json."""


@dataclass(frozen=True, slots=True)
class CommonRows:
    """Which rows of a table all parties have.

    Args:
        positions: of the table's rows, in the order that all parties keep theirs in.
        at: of parties with one row a key beside one with many, the row that each joined row has.
    """

    positions: Indices
    at: Mapping[str, Indices] = field(default_factory=dict)


Agree = Callable[[pa.Array], CommonRows]
"""Finds the rows that all parties have, by the keys of a table's rows."""

Keep = Callable[[int, pa.Array | None], Indices]
"""Which of so many rows are kept for validation; is given the column that decides it, where that is here."""

NOBODY: Mapping[str, NDArray[np.bool_]] = {}
IN_MEMORY = 256 << 20
"""Bytes of encoded columns that are kept in memory."""


@dataclass
class Dataset:
    """Aligned and encoded rows of one or several parties.

    Attributes:
        rows: number of aligned rows.
        inputs: of each input (`party.column`) the encoded rows of its party's table: int32 [n] ids; int32
            [n, L] many ids, padded with -1; float [n, 1] numbers.
        keys: the rows' keys as text, in order.
        report: `{"parties": {party: {"rows", "kept", "dropped"}}, "encoders": {input: {"unknown",
            "missing", "examples"}}}`.
        key_types: of each party, the types of its key columns, as DuckDB calls them.
        state: what the encoders fitted, as JSON; give it back to `load` for evaluation and prediction.
        held_out: the rows that are kept for validation, in order; None where that is nobody's matter.
        at: of parties with one row a key beside one with many, the row that each joined row has, [rows].
        once: those of them whose distinct rows are a batch's.
        present: inputs that say whether a party has a row, with the party and their type.
        key_files: the arrays that the keys lie in.
    """

    rows: int
    inputs: dict[str, NDArray[Any]]
    keys: pa.Array
    report: dict[str, Any]
    state: dict[str, ChainState]
    key_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held_out: Indices | None = None
    at: Mapping[str, Indices] = field(default_factory=dict)
    once: Collection[str] = ()
    present: Mapping[str, tuple[str, np.dtype[Any]]] = field(default_factory=dict)
    key_files: Sequence[NDArray[Any]] = field(default=(), repr=False, compare=False)
    _read: int = field(default=0, init=False, repr=False, compare=False)

    @classmethod
    def load(
        cls,
        encoders: Encoders,
        sources: Mapping[str, TableSource],
        state: Mapping[str, ChainState] | None = None,
        labels: bool = True,
        *,
        fit_rest: bool = False,
        only: Collection[str] | None = None,
        keep: Keep | None = None,
        deciding: tuple[str, str] | None = None,
        apart: Mapping[str, TableSource] | None = None,
        agree: Agree | None = None,
        precision: str = "float32",
        once: Collection[str] = (),
        present: Mapping[str, tuple[str, np.dtype[Any]]] | None = None,
        in_memory: int | None = None,
        memory_limit: int | None = None,
    ) -> Dataset:
        """Opens, aligns and encodes the tables of the parties in `encoders`.

        Args:
            encoders: the content of encoders.json.
            sources: of each party its source.
            state: what a training run fitted; None fits anew.
            fit_rest: fits what `state` does not have, instead of refusing it.
            labels: whether labels and weights are read; prediction does without their columns.
            only: read these inputs alone (`party.column`).
            keep: says which rows are kept for validation; encoders are fitted to the others (None: to all).
            deciding: a party and its column that `keep` is given, where that party is here.
            apart: of each party the source of more rows, which come after the others and are those that are
                kept for validation.
            agree: of a single party: finds the rows that the parties elsewhere have, too.
            precision: dtype of numbers, "float32" or "float64".
            once: parties that compute once for each key of a batch.
            present: inputs that say whether a party has a row, with the party and their type.
            in_memory: bytes of encoded columns that are held in memory, `IN_MEMORY` where None; others lie in
                temporary files.
            memory_limit: bytes DuckDB may hold while it sorts and joins.

        Raises:
            Failure: VFL0506, VFL0601 to 0607, 0610, 0612, 0613, 0616, 0618.
        """
        parties: Mapping[str, Any] = encoders["parties"]
        check_parties(parties, sources)
        if apart is not None:
            check_parties(parties, apart, "--validation-data")
        tables = {
            p: EncodedTable(p, info, labels, only, state, deciding, fit_rest) for p, info in parties.items()
        }
        needed = {p: {**parties[p], "columns": table.raw} for p, table in tables.items()}
        with ExitStack() as opened:
            given = [sources] if apart is None else [sources, apart]
            parts = [opened.enter_context(opened_tables(needed, each, memory_limit)) for each in given]
            if agree is not None:
                (party,) = parties
                for part in parts:
                    agreed = agree(part.keys)
                    part.keep(party, agreed.positions)
                    part.at = {**agreed.at}
            number, aligned = np.dtype(precision), parts[0]
            rows = sum(part.rows for part in parts)
            held_out = np.arange(aligned.rows, rows) if apart is not None else None
            if keep is not None and apart is None:
                owner = tables.get(deciding[0]) if deciding is not None else None
                held_out = keep(rows, None if owner is None else owner.decided(aligned))
            not_fitted_to = held_out if state is None or fit_rest else None
            for table in tables.values():
                table.fit(aligned, _fitted_to(not_fitted_to, aligned, table.party), number)
            # The files are deleted while they are mapped: a killed run leaves nothing behind.
            with scratch_folder() as folder:
                inputs: dict[str, NDArray[Any]] = {}
                room = Room(IN_MEMORY if in_memory is None else in_memory)
                for table in tables.values():
                    inputs |= table.encode(parts, folder, room, number)
                keys, key_files = kept_keys(
                    (keys for part in parts for keys in part.blocks_of_keys(BLOCK)), folder, room
                )
        chains = {name: chain for table in tables.values() for name, chain in table.chains.items()}
        report = {
            "parties": _added([part.report for part in parts]),
            "encoders": {name: chain.counts.report() for name, chain in chains.items()},
        }
        fitted = {name: chain.state for name, chain in chains.items() if any(chain.state)}
        types, at = aligned.key_types, _one_after_another(parts)
        return cls(rows, inputs, keys, report, fitted, types, held_out, at, once, present or {}, key_files)

    @staticmethod
    def look(
        encoders: Encoders,
        sources: Mapping[str, TableSource],
        labels: bool,
        only: Collection[str],
        deciding: tuple[str, str] | None = None,
    ) -> None:
        """Whether `load` would find the tables and their columns, as far as their first rows show.

        Raises:
            Failure: VFL0601 to 0603, 0607, 0618.
        """
        parties: Mapping[str, Any] = encoders["parties"]
        check_parties(parties, sources)
        needed = {
            p: {**info, "columns": EncodedTable(p, info, labels, only, None, deciding).raw}
            for p, info in parties.items()
        }
        look_at_tables(needed, sources)

    def batch(self, indices: Indices, drop: Mapping[str, NDArray[np.bool_]] = NOBODY) -> Batch:
        """The rows `indices` of every input, as contiguous arrays; of parties in `once` the distinct ones.

        `drop` says of parties that may lack rows which others to leave out, bool [all rows].
        """
        self._read += len(indices)
        if self._read > BLOCK:
            self._read = 0
            forget([*self.inputs.values(), *self.key_files])
        return gathered(self.inputs, self.at, self.once, indices, drop, self.present)

    @property
    def in_files(self) -> bool:
        """Whether inputs lie in files, since they are too large for memory."""
        return any(isinstance(each, np.memmap) for each in self.inputs.values())

    def whole(self, name: str) -> NDArray[Any]:
        """An input's value in each of the joined rows, [rows, …]."""
        at = self.at.get(name.partition(".")[0])
        return self.inputs[name] if at is None else self.inputs[name].take(np.maximum(at, 0), axis=0)


@contextmanager
def opened_tables(
    needed: Mapping[str, Mapping[str, Any]], sources: Mapping[str, TableSource], memory_limit: int | None
) -> Iterator[Aligned]:
    """The aligned tables while they are needed; VFL0601 where DuckDB fails meanwhile."""
    aligned = open_tables(needed, sources, memory_limit)
    try:
        yield aligned
    except duckdb.Error as error:
        raise unreadable(", ".join(needed), "the aligned tables", error) from None
    finally:
        aligned.close()


def _fitted_to(held_out: Indices | None, aligned: Aligned, party: str) -> Chosen | None:
    """Which rows of a party's own table encoders are fitted to; None for all of them.

    Not to those of joined rows that are kept for validation, and to one as often as joined rows have it.
    """
    at = aligned.at.get(party)
    if held_out is not None and (not len(held_out) or held_out[0] >= aligned.rows):
        held_out = None
    if at is None:
        return None if held_out is None else partial(others, held_out)
    rows = np.sort(at if held_out is None else np.delete(at, held_out))
    return partial(these, rows[np.searchsorted(rows, 0) :])


def _added(reports: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Counts of rows over all parts, by party."""
    return {
        party: {name: sum(report[party][name] for report in reports) for name in counts}
        for party, counts in reports[0].items()
    }


def _one_after_another(parts: Sequence[Aligned]) -> dict[str, Indices]:
    """`Aligned.at` of parts whose rows, and those of each table, follow one another."""
    found: dict[str, list[Indices]] = {}
    for party in parts[0].at:
        start = 0
        for part in parts:
            at = part.at[party]
            found.setdefault(party, []).append(np.where(at == ABSENT, ABSENT, at + start))
            start += part.own.get(party, int(at.max()) + 1)
    return {party: np.concatenate(each) for party, each in found.items()}


def check_parties(
    parties: Mapping[str, Any], sources: Mapping[str, TableSource], option: str = "--data"
) -> None:
    """VFL0618 where there is data for nobody, or nobody's data; `option` is how it is given."""
    listed = ", ".join(parties)
    for party in sources:
        if party not in parties:
            near = difflib.get_close_matches(party, parties, 1)
            guess = f"did you mean {near[0]}? " if near else ""
            raise Failure(
                "VFL0618",
                f"data is given for {party}, which is not a party with columns here",
                f"{guess}parties with columns: {listed}",
            )
    for party, info in parties.items():
        if party not in sources:
            raise Failure(
                "VFL0618",
                f"no data is given for {party}",
                f"give a table: {option} {party}=SOURCE, in Python {{{party!r}: …}}",
                info.get("where"),
            )
