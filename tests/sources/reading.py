"""Reads a source as a run does, looking at it first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from vflc_runtime.data.align import look_at_tables, open_tables
from vflc_runtime.data.read import Wanted, connect, load, open_sources
from vflc_runtime.errors import Failure


def read(source: Any, *names: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """DuckDB's types of the columns, and the rows as they were read."""
    with tempfile.TemporaryDirectory() as folder:
        connection = connect(256 << 20, folder)
        opened = open_sources(connection, {"alice": source})
        types = load(connection, "rows", opened["alice"], [Wanted(name) for name in names])
        rows = connection.execute('FROM "rows" ORDER BY rowid').fetchall()
        connection.close()
        assert not list(Path(folder).glob("*.parquet"))
        return types, rows


def table(source: Any, key: str, **columns: str) -> list[list[Any]]:
    """Columns of declared types, by their key, after the look that every run begins with."""
    info = {"key": key, "columns": [{"name": name, "type": type} for name, type in columns.items()]}
    look_at_tables({"alice": info}, {"alice": source})
    aligned = open_tables({"alice": info}, {"alice": source})
    try:
        found = [[], *([] for _ in columns)]
        for keys, batch in aligned.batches("alice", 1 << 17):
            for into, values in zip(found, (keys, *batch.columns), strict=True):
                into += values.to_pylist()
        return found
    finally:
        aligned.close()


def refused(code: str, source: Any, *names: str) -> Failure:
    with pytest.raises(Failure) as caught:
        read(source, *(names or ("ID",)))
    assert caught.value.code == code, str(caught.value)
    assert caught.value.message.isprintable() and len(caught.value.message) < 700, caught.value.message
    return caught.value
