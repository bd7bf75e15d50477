"""Raw columns as exported models take them, and rows to try an exported model with.

Text is missing where it is empty, a number where it is NaN, and a whole number where it is
`MISSING`: formats for models have no nulls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vflc_runtime.bundle import Bundle
from vflc_runtime.data.align import open_tables
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.encoders import ENCODERS, FITTED, Values
from vflc_runtime.data.generate import generate
from vflc_runtime.data.source import Source
from vflc_runtime.loading import encoders

Array = NDArray[Any]
MISSING = -(2**63)
UNKNOWN = 1 << 30
"""An id that no table has: reading it is an error, as an unknown value without a default is."""
SAMPLE = 256
"""Rows that an export is compared on."""


class NotExpressed(Exception):
    """A format has no means for an encoder; the message says which and why."""


TEXT = {"strip": "without blanks around it", "lower": "in lower case"}
"""Encoders of text that no format has, and what a caller does instead."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A feature's raw column: its declared type and its encoders with what they fitted.

    Args:
        prepared: encoders of `TEXT` that the caller does instead of the model.
    """

    id: str
    type: str
    encoders: tuple[Mapping[str, Any], ...]
    shape: str
    prepared: tuple[str, ...] = ()

    @property
    def many(self) -> bool:
        """Whether a row has many ids."""
        return self.shape == "ids"

    def without_text(self) -> Raw:
        """The column with its encoders of text left to the caller.

        Not so where text of nothing but blanks would be taken for missing then, and is not.
        """
        names = tuple(e["name"] for e in self.encoders if e["name"] in TEXT)
        if not names or self.many:
            return self
        kept = replace(
            self, encoders=tuple(e for e in self.encoders if e["name"] not in TEXT), prepared=names
        )
        fill, chain = kept.filled()
        if chain[0]["name"] != "hash" or fill is not None:
            blank, missing = (kept.id_of(chain[0], value) for value in ("", fill))
            return kept if blank == missing else self
        return kept

    def as_prepared(self, column: Array) -> Array:
        """A raw column as the caller prepares it."""
        for name in self.prepared:
            texts = pa.array(column.tolist(), pa.string())
            column = np.array(ENCODERS[name](Values(texts), {"name": name}).flat.to_pylist(), np.str_)
        return column

    def id_of(self, encoder: Mapping[str, Any], value: Any) -> int:
        """The id that an encoder gives to one value, UNKNOWN where it knows no id for it."""
        kind = {"string": pa.string(), "int": pa.int64()}[self.type]
        found = ENCODERS[encoder["name"]](Values(pa.array([value], kind)), encoder).flat[0].as_py()
        return UNKNOWN if found is None else int(found)

    def whole_keys(self, encoder: Mapping[str, Any]) -> list[int]:
        """The whole numbers that a vocabulary lists, as such or as text."""
        if any(isinstance(value, float) for value in encoder["values"]):
            raise NotExpressed("whole numbers are looked up among fractions")
        texts = [str(value) for value in encoder["values"]]
        return [int(text) for text in texts if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text)]

    def filled(self) -> tuple[Any, tuple[Mapping[str, Any], ...]]:
        """What missing values become, None where nothing says, and the encoders after that."""
        rest = list(self.encoders)
        value = rest.pop(0)["value"] if rest and rest[0]["name"] == "missing" else None
        return value, tuple(rest)


def raw_columns(bundle: Bundle, fitted: Mapping[str, Any]) -> dict[str, Raw | None]:
    """Of every input of prediction its raw column; None where an expression computes it."""
    columns: dict[str, Raw | None] = {}
    for party, info in encoders(bundle)["parties"].items():
        for column in info["columns"]:
            if column["kind"] != "feature":
                continue
            name = f"{party}.{column['name']}"
            if column.get("value") is not None:
                columns[name] = None
                continue
            state = fitted.get(name) or [None] * len(column["encoders"])
            chain = [{**e, **(s or {})} for e, s in zip(column["encoders"], state, strict=True)]
            columns[name] = Raw(name, column["type"], tuple(chain), column["shape"])
    return columns


def parameters(encoder: Mapping[str, Any]) -> tuple[float, float]:
    """What a fitted encoder takes off and divides by."""
    first, second = (float(encoder[name]) for name in FITTED[encoder["name"]])
    return (first, second or 1.0) if encoder["name"] == "standardize" else (first, (second - first) or 1.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """Aligned rows: `raw` columns by input as text, int64 or float64 [n], and `inputs` encoded."""

    rows: int
    raw: dict[str, Array]
    inputs: dict[str, Array]


def sample(bundle: Bundle, fitted: Mapping[str, Any], sources: Mapping[str, Source] | None) -> Sample:
    """The first rows of the sources, or generated ones that fit the spec where there are none."""
    described = encoders(bundle)
    tables = sources or generate(described, SAMPLE, 1)
    wanted = {i.id for plan in bundle.plans.values() for i in plan.inputs.values() if not i.label}
    data = Dataset.load(described, tables, fitted, False, only=wanted, precision=bundle.manifest.precision)
    rows = min(data.rows, SAMPLE)
    parties: dict[str, Any] = {}
    for party, info in described["parties"].items():
        own = [c for c in info["columns"] if f"{party}.{c['name']}" in wanted and c.get("value") is None]
        parties[party] = {**info, "columns": own}
    aligned = open_tables(parties, tables)
    try:
        raw = {
            f"{party}.{c['name']}": _plain(aligned.column(party, c["name"]).slice(0, rows), c["type"])
            for party, info in parties.items()
            for c in info["columns"]
        }
    finally:
        aligned.close()
    return Sample(rows, raw, data.batch(np.arange(rows)))


def _plain(column: pa.ChunkedArray, type: str) -> Array:
    """A column without nulls."""
    if type == "string":
        return np.array([value or "" for value in column.to_pylist()], np.str_)
    if type == "int":
        return np.asarray(column.cast(pa.int64()).fill_null(MISSING).to_numpy(), np.int64)
    return np.asarray(column.cast(pa.float64()).fill_null(float("nan")).to_numpy(), np.float64)
