"""Input tables, as a notebook has them, and small tables of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vflc.report.numbers import measures

if TYPE_CHECKING:
    import pyarrow as pa
    from vflc_runtime.data.source import TableSource


class Table:
    """A small table of named values. It is printed as text, and as a table in a notebook."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.columns = tuple(columns)
        self.rows = tuple(tuple(row) for row in rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """The values of a column."""
        at = self.columns.index(column)
        return [row[at] for row in self.rows]

    def __repr__(self) -> str:
        lines = [self.columns, *([_text(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(_text(value))}</td>' for value in row)}</tr>" for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def to_arrow(self) -> pa.Table:
        """The same as an Arrow table; `.to_pandas()` converts that if pandas is installed."""
        import pyarrow as pa

        return pa.Table.from_pylist(list(self))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return measures(value)[0]
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)


def sources(tables: Mapping[str, Any]) -> dict[str, TableSource]:
    """The table of each party, as the runtime reads it.

    Args:
        tables: by party: a pandas or polars frame, an Arrow table or an object that gives an Arrow stream, a
            path, a glob, or a query (`SELECT …`).

    Raises:
        TypeError: one is none of these, or `tables` is not a mapping.
    """
    if not isinstance(tables, Mapping):
        raise TypeError(f"tables come by party, as in {{'alice': frame}}, and this is {_kind(tables)}")
    return {party: source(table, party) for party, table in tables.items()}


def source(table: Any, party: str) -> TableSource:
    """One table of `sources`."""
    import pyarrow as pa

    if isinstance(table, (str, Path, pa.Table)):
        return table
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    if hasattr(table, "__arrow_c_stream__"):  # pandas (2.2), polars, DuckDB, …: Arrow's PyCapsule interface
        return pa.RecordBatchReader.from_stream(table).read_all()
    wanted = "give a frame, an Arrow table, a path or a query"
    raise TypeError(f"the table of {party} is {_kind(table)}: {wanted}")


def _kind(value: Any) -> str:
    return f"of type {type(value).__module__}.{type(value).__qualname__}"
