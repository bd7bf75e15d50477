"""Puts rows of a server, or of Delta Lake, into a DuckDB table, by batches; memory holds a few at a time."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from vflc_runtime.data.delta import batches_of
from vflc_runtime.data.servers.receive import DECIMAL, JSON, MEANT, ChooseColumns, receive
from vflc_runtime.data.source import OpenedSource, quote
from vflc_runtime.data.values import define

_MEANT = {
    DECIMAL: "CASE WHEN NOT vfl_absent({0}) THEN vfl_decimal({0}) END",
    JSON: "CAST({0} AS JSON)",
}
"""SQL for texts of a server that mean something else."""
TOGETHER = 16 << 20
"""Bytes of batches that DuckDB gets at a time."""


def fill(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    source: OpenedSource,
    choose: ChooseColumns,
    limit: int | None = None,
) -> tuple[int, list[str]]:
    """Makes `table` of columns of such a source, named c0, c1, …; rows keep their order.

    Args:
        connection: where the table is made.
        table: its name.
        source: where the rows are.
        choose: of all columns, those to read.
        limit: rows that are wanted at most; None for all.

    Returns:
        The rows, and DuckDB's type of each column.

    Raises:
        Failure: as `receive`.
    """
    batches = _batches(source, choose, limit)
    rows, into = 0, f"CREATE TABLE {quote(table)} AS"
    for part in _gathered(batches):
        meant = [(field.metadata or {}).get(MEANT, b"") for field in part.schema]
        columns = [_MEANT.get(what, "{0}").format(f"c{i}") for i, what in enumerate(meant)]
        picks = ", ".join(f"{column} AS c{i}" for i, column in enumerate(columns))
        define(connection, columns)
        connection.register("received", part.combine_chunks())  # of several, DuckDB mixes the rows
        connection.execute(f"{into} SELECT {picks} FROM received")
        connection.unregister("received")
        into = f"INSERT INTO {quote(table)}"
        rows += part.num_rows
    types = [row[1] for row in connection.execute(f"DESCRIBE {quote(table)}").fetchall()]
    return rows, types


def _batches(source: OpenedSource, choose: ChooseColumns, limit: int | None) -> Iterator[pa.RecordBatch]:
    if source.dataset is not None:
        return batches_of(source.dataset, choose, limit)
    assert source.server is not None
    return receive(source.server, source.party, source.shown, choose, limit)


def _gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Many batches as one, as each table takes DuckDB some milliseconds; there is at least one."""
    gathered, size = list[pa.RecordBatch](), 0
    for batch in batches:
        gathered.append(batch)
        size += batch.nbytes
        if size > TOGETHER:
            yield pa.Table.from_batches(gathered)
            gathered, size = [], 0
    if gathered:
        yield pa.Table.from_batches(gathered)
