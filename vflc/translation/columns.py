"""Values of columns before they are numbers or ids of the graph: chains of encoders."""

from __future__ import annotations

from typing import Any

from vflc.translation.graph import InputColumn, Value, refuse


def raw(column: InputColumn) -> Value:
    """A column as it stands in the table."""
    return Value("raw", (), column.shape, {"column": column, "chain": (), "kind": column.type, "rows": None})


MANY = {
    "kept": "the ids of a row, one by one", "present": "which ids a row has",
    "rows": "the rows of a table that a row's ids name, one by one", "count": "how many ids a row has",
    "hots": "the ids of a row, one by one", "spread": "the ids of a row, one by one",
    "masked": "the rows of a table that a row's ids name, one by one",
}  # fmt: skip
"""Steps on the way from many ids a row to their sum, which an import knows as a whole."""
WHOLE = "sum, or average, what many ids name: the rest has no counterpart here"


def is_raw(value: Any) -> bool:
    return isinstance(value, Value) and value.op == "raw"


def encode(value: Value, encoder: str, kind: str, rows: int | None = None) -> Value:
    """The column after one more encoder; `kind` is `id` with so many `rows`, or `float`."""
    attrs = {**value.attrs, "chain": (*value.attrs["chain"], encoder), "kind": kind, "rows": rows}
    return Value("raw", (), value.shape, attrs)


def _feature(value: Value, chain: tuple[str, ...], layer: str) -> Value:
    column: InputColumn = value.attrs["column"]
    if len(value.shape) > 1:
        refuse(
            "VFL0703",
            f"`{layer}` reads the input `{column.name}` of {len(value.shape)} axes a row",
            "give it an input for each column, of shape () or (1,), or vectors of columns, of shape (n,)",
        )
    encoding = " -> ".join(chain)
    if encoding not in column.encodings:
        column.encodings.append(encoding)
    return Value("feature", (), value.shape, {"column": column, "encoding": encoding})


def numeric(value: Value, layer: str) -> Value:
    """The value as one that arithmetic takes.

    Raises:
        Refused: VFL0701, it is text or an id.
    """
    if value.op in ("traced", *MANY):
        refuse(
            "VFL0701", f"`{layer}` computes with {MANY.get(value.op, 'a column that is half encoded')}", WHOLE
        )
    if value.op != "raw":
        return value
    name, kind = value.attrs["column"].name, value.attrs["kind"]
    if kind in ("string", "id", "ids", "padded"):
        what = "text" if kind == "string" else "ids of categories"
        refuse(
            "VFL0701",
            f"`{layer}` computes with {what} of the input `{name}`",
            "give ids to an Embedding or a CategoryEncoding layer, and text to a lookup first",
        )
    return _feature(value, value.attrs["chain"], layer)


def ids(value: Value, rows: int, layer: str) -> Value:
    """The value as ids below `rows`.

    Raises:
        Refused: VFL0701, it is no column, or one of another kind.
    """
    if value.op != "raw":
        refuse(
            "VFL0701",
            f"`{layer}` reads ids that the model computes",
            "let it read an input, or a lookup, hash or discretization of one",
        )
    column, kind, chain = value.attrs["column"], value.attrs["kind"], value.attrs["chain"]
    if kind in ("id", "ids", "padded"):
        most = value.attrs["rows"]
        if most > rows:
            refuse(
                "VFL0700", f"`{layer}` has {rows} rows for {most} ids of `{column.name}`", "give it more rows"
            )
        return _feature(value, chain, layer)
    if kind == "string" or chain:
        what = "text" if kind == "string" else "computed numbers"
        refuse(
            "VFL0701", f"`{layer}` takes {what} of `{column.name}` for ids", "look them up or hash them first"
        )
    column.type = "int"
    return _feature(value, (f"index({rows})",), layer)
