"""Raw columns as exported models take them, and rows to try an exported model with.

A model does as much of a column's chain of encoders as its format can; the caller does what comes
before. A number is missing where it is NaN, and a whole number where it is `MISSING`: formats for
models have no nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from vflc_common.arrays import Array
from vflc_common.dates import shown
from vflc_common.encoder import TEXTS, EncoderSettings
from vflc_common.encoders import length, record
from vflc_common.encoding import UNKNOWN, NotExpressed
from vflc_common.expressions import columns as columns_read
from vflc_common.expressions import renamed, type_of
from vflc_common.values import Values
from vflc_common.words import DATES, vector_width

from vflc_runtime.bundle.folder import Bundle
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.chain import part_of
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.encoders import encode, settled
from vflc_runtime.data.generate import generate
from vflc_runtime.data.source import TableSource
from vflc_runtime.data.spread import ABSENT, Batch, KeySpread
from vflc_runtime.data.table import name_in_table
from vflc_runtime.export.marks import mark
from vflc_runtime.run.loading import encoders, present

SAMPLE = 256
"""Rows that an export is compared on."""


@dataclass(frozen=True, slots=True)
class RawFeature:
    """A feature's column and how a model takes it.

    Args:
        id: of the value that the encoders make.
        party: whose table has the column.
        column: its name in the table, and so are those in `computed` and `reads`.
        type: `string`, `int`, `float` or `vector(8)`.
        before: encoders that the caller does, with what they fitted.
        encoders: those that the model does, after them.
        encoded: whether the caller does all, up to ids and numbers as graphs take them.
        shape: of what comes out: `id`, `ids`, `number` or `vector`.
        rows: how many ids there are; None where numbers come out.
        computed: the expression that makes the column of others, None where it lies in the table.
        reads: the columns that `computed` reads, with their types.
    """

    id: str
    party: str
    column: str
    type: str
    encoders: tuple[EncoderSettings, ...]
    shape: str
    rows: int | None = None
    before: tuple[EncoderSettings, ...] = ()
    encoded: bool = False
    computed: Mapping[str, Any] | None = None
    reads: Mapping[str, str] | None = None

    @property
    def many(self) -> bool:
        """Whether a row has many ids."""
        return self.shape == "ids"

    @property
    def pieces(self) -> bool:
        """Whether the model takes many texts a row."""
        return self.taken == "strings"

    @property
    def taken(self) -> str:
        """What the model takes: the column as it is, or what the caller makes of it."""
        return _after(self.type, self.before)

    @property
    def computes(self) -> bool:
        """Whether the model computes with a number; it looks up texts and whole numbers as they are."""
        filled = bool(self.encoders) and record(self.encoders[0]).fills is not None
        first = next(iter(self.encoders[filled:]), None)
        return self.type != "string" and (first is None or "float" in record(first).reads)

    @property
    def length(self) -> int | None:
        """How many ids a row has at most, where that is fixed."""
        return length((*self.before, *self.encoders))

    def cuts(self) -> Iterator[RawFeature]:
        """Ways to leave a part of the chain to the caller, from nothing to all that is text."""
        for count in range(len(self.encoders) or 1):
            before = self.encoders[:count]
            if count and _after(self.type, before) not in TEXTS:
                return
            yield replace(self, before=before, encoders=self.encoders[count:])

    def all_before(self) -> RawFeature:
        """The column with all its encoders left to the caller."""
        return replace(self, before=(*self.before, *self.encoders), encoders=(), encoded=True)

    def check(self) -> None:
        """NotExpressed where no format can do what is left to the model."""
        if self.shape == "vector" or self.type not in ("string", "int", "float"):
            what = "vectors" if self.shape == "vector" else f"columns of type {self.type}"
            raise NotExpressed(f"{what} are encoded before the model")
        for encoder in self.encoders:
            why = record(encoder).not_exported(encoder, self.type)
            if why is not None:
                raise NotExpressed(why)
        self._check_empty()

    def _check_empty(self) -> None:
        """NotExpressed where the empty text is something else than no text, and both are allowed."""
        kind = self.type
        for encoder in self.before:
            if kind == "strings" and record(encoder).may_empty:
                raise NotExpressed("pieces may be empty, which is no piece to a model")
            kind = record(encoder).after(kind)
        if self.pieces or self.type != "string" or self.many:
            return
        first = next((e for e in self.encoders if record(e).after("string") != "strings"), None)
        if first is None or record(first).after("string") in TEXTS:
            return
        empty, missing = (self.id_of(first, value) for value in ("", None))
        if missing not in (empty, UNKNOWN):
            raise NotExpressed("a model cannot tell empty text from none")

    def id_of(self, encoder: EncoderSettings, value: Any) -> int:
        """The id that an encoder gives to one value, UNKNOWN where it knows no id for it."""
        return self.ids_of(encoder, [value])[0]

    def ids_of(self, encoder: EncoderSettings, values: Sequence[Any]) -> list[int]:
        """The same of several values."""
        kind = {"string": pa.string(), "int": pa.int64()}[self.type]
        found = encode(Values(pa.array(values, kind)), encoder).flat.to_pylist()
        return [UNKNOWN if each is None else int(each) for each in found]

    def filled(self) -> tuple[Any, tuple[EncoderSettings, ...]]:
        """What missing numbers become first of all, None where nothing says, and the encoders after that."""
        rest = list(self.encoders)
        fills = record(rest[0]).fills if rest else None
        value = None if fills is None else fills(rest.pop(0))
        if self.type == "int" and value is not None and value != int(value):
            raise NotExpressed("a fraction stands for a missing whole number")
        return value, tuple(rest)


def _after(kind: str, chain: Iterable[EncoderSettings]) -> str:
    """What a chain gives of what it begins with."""
    for encoder in chain:
        kind = record(encoder).after(kind)
    return kind


def raw_columns(bundle: Bundle, fitted: Mapping[str, Any]) -> dict[str, RawFeature]:
    """Of every input of prediction the column it is made of."""
    return raw_of(encoders(bundle)["parties"], fitted)


def raw_of(parties: Mapping[str, Any], fitted: Mapping[str, Any]) -> dict[str, RawFeature]:
    """The same of the columns of parties, as encoders.json has them."""
    columns: dict[str, RawFeature] = {}
    for party, info in parties.items():
        types = {c["name"]: c["type"] for c in info["columns"] if c.get("value") is None}
        called = {c["name"]: name_in_table(c) for c in info["columns"]}
        for column in info["columns"]:
            if column["kind"] != "feature":
                continue
            name, value = f"{party}.{column['name']}", column.get("value")
            state = fitted.get(name) or [None] * len(column["encoders"])
            width = vector_width(types.get(column["name"]))
            chain = tuple(_settled(e, s, width) for e, s in zip(column["encoders"], state, strict=True))
            columns[name] = RawFeature(
                name,
                party,
                name_in_table(column),
                types[column["name"]] if value is None else type_of(value, types),
                chain,
                column["shape"],
                column["rows"],
                computed=None if value is None else renamed(value, called),
                reads=None
                if value is None
                else {called[c]: types[c] for c in sorted({*columns_read(value)})},
            )
    return columns


def _settled(encoder: EncoderSettings, state: Mapping[str, Any] | None, width: int | None) -> EncoderSettings:
    """An encoder as it computes; of a vector, whose parts were fitted each by itself, one for each."""
    if width is None or state is None:
        return settled(encoder, state)
    parts = [settled(encoder, part_of(state, i)) for i in range(width)]
    return {"name": encoder["name"], "components": parts}


@dataclass(frozen=True, slots=True)
class RowSample:
    """Aligned rows: raw values by `party.column`, None where missing, and `inputs` encoded.

    `marks` say of parties that may lack rows which they have, bool [rows, 1].
    """

    rows: list[dict[str, Any]]
    inputs: Batch
    marks: dict[str, Array]


def sample(bundle: Bundle, fitted: Mapping[str, Any], sources: Mapping[str, TableSource] | None) -> RowSample:
    """The first rows of the sources, or generated ones that fit the spec where there are none."""
    described = encoders(bundle)
    tables = sources or generate(described, SAMPLE, 1)
    inputs = (each for plan in bundle.plans.values() for each in plan.inputs.values())
    wanted = {each.id for each in inputs if not each.label and not each.present}
    data = Dataset.load(
        described,
        tables,
        fitted,
        False,
        only=wanted,
        precision=bundle.manifest.precision,
        present=present(bundle),
    )
    # Rows that a party lacks come last: the sample has them if it is taken from everywhere.
    chosen = np.unique(np.linspace(0, data.rows - 1, min(data.rows, SAMPLE)).astype(np.int64))
    parties: dict[str, Any] = {}
    for party, info in described["parties"].items():
        parties[party] = {**info, "columns": _read(party, info["columns"], wanted)}
    aligned = open_tables(parties, tables)
    try:
        raw = {
            f"{party}.{name_in_table(c)}": aligned.joined(party, c["name"], chosen).to_pylist()
            for party, info in parties.items()
            for c in info["columns"]
        }
    finally:
        aligned.close()
    for party, info in parties.items():
        for c in info["columns"]:
            if c["type"] in DATES:  # as it may stand in a table, not as it is inside
                name, day = f"{party}.{name_in_table(c)}", c["type"] == "date"
                raw[name] = [None if moment is None else shown(moment, day) for moment in raw[name]]
    has = {party: data.at[party][chosen] != ABSENT for party in bundle.manifest.missing}
    raw |= {mark(party): there.tolist() for party, there in has.items()}
    rows = [{name: column[at] for name, column in raw.items()} for at in range(len(chosen))]
    # What a party sends of a row that it lacks does not arrive, here too.
    number = np.arange(len(chosen))
    spreads = {p: KeySpread(number, np.where(there, number, ABSENT)) for p, there in has.items()}
    marks = {mark(party): there[:, None] for party, there in has.items()}
    return RowSample(rows, Batch(data.batch(chosen), spreads), marks)


def _read(party: str, columns: list[Mapping[str, Any]], wanted: set[str]) -> list[Mapping[str, Any]]:
    """The columns of the table that the wanted features are made of."""
    names: set[str] = set()
    for column in columns:
        if f"{party}.{column['name']}" in wanted:
            value = column.get("value")
            names |= {column["name"]} if value is None else {*columns_read(value)}
    return [c for c in columns if c["name"] in names and c.get("value") is None]
