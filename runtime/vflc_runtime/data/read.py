"""Reads an opened source into a DuckDB table: only the columns that are asked for, rows in their order.

Columns of a text file are read as text exactly as they lie: what is a number is for the spec to say
(see `texts`), never guessed from the values.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from vflc_common.text import composed, is_name, written

from vflc_runtime.data.received import fill
from vflc_runtime.data.servers.receive import ChooseColumns
from vflc_runtime.data.source import (
    BUFFER,
    LINE,
    OpenedSource,
    TableSource,
    empty,
    escaped,
    failed,
    literal,
    open_source,
    quote,
    unreadable,
)  # fmt: skip
from vflc_runtime.errors import Failure, Where

HEADING = 4 << 20
"""Bytes that the first line of a text file may have."""


@dataclass(frozen=True)
class Wanted:
    """A column that is to be read, and the place in the spec that asks for it."""

    name: str
    where: Where | None = None


def connect(memory_limit: int, temp_directory: str) -> duckdb.DuckDBPyConnection:
    """A database in memory that spills to `temp_directory`, reaches no network and loads no extension.

    Args:
        memory_limit: bytes DuckDB may hold before it spills.
        temp_directory: where it spills to; belongs to the caller.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "memory_limit": f"{max(memory_limit, 64 << 20)}B",
            "temp_directory": temp_directory,
        },
    )
    connection.execute("SET python_enable_replacements = false")
    with suppress(duckdb.InvalidInputException):  # a notebook without ipywidgets has none to put off
        connection.execute("SET enable_progress_bar = false")
    # What a moment is called must not depend on where a machine stands.
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def counted(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one whole number that a query gives."""
    ((found,),) = connection.execute(query).fetchall()
    return int(found)


def open_sources(
    connection: duckdb.DuckDBPyConnection, given: Mapping[str, TableSource], sample: bool = False
) -> dict[str, OpenedSource]:
    """Opens the sources of all parties, and then lets DuckDB open their files and nothing else, for good.

    Raises:
        Failure: as `open_source`.
    """
    opened = {party: open_source(connection, source, party, sample) for party, source in given.items()}
    paths = sorted(
        {path for each in opened.values() for path in [*each.files, *map(escaped, each.files), *each.globs]}
    )
    connection.execute(f"SET allowed_paths = [{', '.join(map(literal, paths))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return opened


def load(
    connection: duckdb.DuckDBPyConnection, table: str, source: OpenedSource, wanted: Sequence[Wanted]
) -> list[str]:
    """Reads the wanted columns of a source into `table` as columns c0, c1, …; rows keep their order.

    Returns:
        The DuckDB type of each column, in the order of `wanted`.

    Raises:
        Failure: VFL0601 (cannot be read), VFL0602 (a wanted column is not there), VFL0607 (no rows),
            VFL0632 (no table: a line of more bytes than one may have), VFL0694 and VFL0697 to 0699 (what
            can be wrong with a server).
    """
    with _reading(source):
        if source.in_batches:
            rows, types = fill(connection, table, source, _chosen(source, wanted))
            if not rows:
                raise empty(source.party, source.shown)
            return types
        query = _query(connection, source, wanted)
        connection.execute(f"CREATE TABLE {quote(table)} AS {query}")
        types = [row[1] for row in connection.execute(f"DESCRIBE {quote(table)}").fetchall()]
        rows = counted(connection, f"SELECT count(*) FROM {quote(table)}")
    if not rows:
        raise empty(source.party, source.shown)
    return types


def look(connection: duckdb.DuckDBPyConnection, source: OpenedSource, wanted: Sequence[Wanted]) -> list[str]:
    """What `load` would return, from a table's first rows; of a query from what it is alone."""
    with _reading(source):
        if source.in_batches:
            limit = 0 if source.server is not None and source.server.query else 1
            rows, types = fill(connection, "looked at", source, _chosen(source, wanted), limit)
            connection.execute('DROP TABLE "looked at"')
            if limit and not rows:
                raise empty(source.party, source.shown)
            return types
        query = _query(connection, source, wanted)
        types = [row[1] for row in connection.execute(f"DESCRIBE {query}").fetchall()]
        # All is fetched: a result that is not finished would stand in the way of the next table.
        first = source.format == "query" or connection.execute(f"{query} LIMIT 1").fetchall()
    if not first:
        raise empty(source.party, source.shown)
    return types


@contextmanager
def _reading(source: OpenedSource) -> Iterator[None]:
    """What goes wrong while a source is read, as a failure that names it."""
    try:
        yield
    except duckdb.Error as error:
        raise unreadable(source.party, source.shown, error) from None
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise failed(source.party, source.shown, str(error)) from None


def _query(connection: duckdb.DuckDBPyConnection, source: OpenedSource, wanted: Sequence[Wanted]) -> str:
    files = f"[{', '.join(literal(escaped(file)) for file in source.files)}]"
    if source.table is not None:
        positions = _positions(source.table.column_names, wanted, source)
        columns = [source.table.column(i) for i in positions]
        columns = [
            c.cast(pa.float32()) if pa.types.is_float16(c.type) else c for c in columns
        ]  # DuckDB has none
        picked = pa.Table.from_arrays(columns, names=_aliases(wanted))
        picked = picked.combine_chunks()  # of several, DuckDB's threads mix the rows
        view = f"given {source.party}"
        connection.register(view, picked)
        return f"SELECT * FROM {quote(view)}"
    if source.format == "query":
        return _select(connection, f"(\n{source.sql}\n)", wanted, source)
    if source.format == "csv":
        return _csv(source, wanted)
    if all(Path(file).stat().st_size == 0 for file in source.files):
        raise empty(source.party, source.shown)
    if source.format == "parquet":
        return _parquet(connection, files, wanted, source)
    names = _names(connection, f"read_json({files}, union_by_name = true)")
    asked = [column.name for column in wanted]
    lower = {name.lower() for name in names}
    renamed = any(re.sub(r"_\d+$", "", name).lower() in lower - {name.lower()} for name in asked)
    if renamed or _alike(asked) or not set(asked) <= set(names):  # age_1 may be what DuckDB calls Age, age
        return _objects(connection, files, wanted, source)
    types = ", ".join(sorted({f"{literal(column.name)}: 'JSON'" for column in wanted}))
    return _picked(f"read_json({files}, columns = {{{types}}})", asked)


def _select(
    connection: duckdb.DuckDBPyConnection, table: str, wanted: Sequence[Wanted], source: OpenedSource
) -> str:
    names = _names(connection, table)
    return _picked(table, [names[at] for at in _positions(names, wanted, source)])


def _alike(names: Iterable[str]) -> bool:
    """Whether some names differ in case only: DuckDB takes them for one, and renames the second."""
    lower = [name.lower() for name in names]
    return len(set(lower)) < len(lower)


def _parquet(
    connection: duckdb.DuckDBPyConnection, files: str, wanted: Sequence[Wanted], source: OpenedSource
) -> str:
    query = f"SELECT file_name, name, coalesce(num_children, 0) FROM parquet_schema({files})"
    schemas = _top_level(connection.execute(query).fetchall())
    if not any(_alike(names) for names in schemas):
        return _select(connection, f"read_parquet({files}, union_by_name = true)", wanted, source)
    if any(names != schemas[0] for names in schemas):
        raise failed(
            source.party, source.shown, "its files have different columns, some of which differ only in case",
            "give all files the same columns, or other names",
        )  # fmt: skip
    table = f"read_parquet({files})"
    known = _names(connection, table)
    return _picked(table, [known[at] for at in _positions(schemas[0], wanted, source)])


def _top_level(schema: Sequence[tuple[str, str, int]]) -> list[list[str]]:
    """Of each file the names of its columns, from the elements of all schemas, depth first."""
    found: dict[str, list[str]] = {}
    inside: list[int] = []  # how many elements are still to come at each level
    for file, name, children in schema:
        if file not in found:
            found[file], inside = [], [children]
            continue
        if len(inside) == 1:
            found[file].append(name)
        inside[-1] -= 1
        if children:
            inside.append(children)
        while len(inside) > 1 and not inside[-1]:
            inside.pop()
    return list(found.values())


def _objects(
    connection: duckdb.DuckDBPyConnection, files: str, wanted: Sequence[Wanted], source: OpenedSource
) -> str:
    """JSON read object by object, where names differ in case only; slower, so only there."""
    table = f"read_json_objects({files})"
    query = f"SELECT DISTINCT unnest(json_keys(json)) FROM {table} WHERE json_type(json) = 'OBJECT'"
    names = sorted(row[0] for row in connection.execute(query).fetchall())
    if not names and connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
        raise empty(source.party, source.shown)
    picked = (names[at] for at in _positions(names, wanted, source))
    pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in picked]
    picks = (
        f"json_extract(json, {literal(pointer)}) AS {alias}"
        for pointer, alias in zip(pointers, _aliases(wanted), strict=True)
    )
    return f"SELECT {', '.join(picks)} FROM {table}"


def _picked(table: str, names: Sequence[str]) -> str:
    picks = (f"{quote(name)} AS {alias}" for name, alias in zip(names, _aliases(names), strict=True))
    return f"SELECT {', '.join(picks)} FROM {table}"


def _names(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]


def _aliases(wanted: Sequence[object]) -> list[str]:
    return [f"c{i}" for i in range(len(wanted))]


def _chosen(source: OpenedSource, wanted: Sequence[Wanted]) -> ChooseColumns:
    """Of the columns of a server's table, those that are wanted."""
    return lambda names: [names[at] for at in _positions(names, wanted, source)]


def _positions(names: Sequence[str], wanted: Sequence[Wanted], source: OpenedSource) -> list[int]:
    """Where the wanted columns are among `names`; exact case, though DuckDB itself would not mind.

    Names are compared in the Unicode form NFC, as all texts are.
    """
    at: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        at.setdefault(composed(name), []).append(i)
    for column in wanted:
        found = len(at.get(composed(column.name), ()))
        if not found:
            raise _no_column(column, names, source)
        if found > 1:
            raise Failure(
                "VFL0601",
                f"{source.party}'s table has {found} columns named {written(column.name)}: {source.shown}",
                "rename all but one of them",
                column.where,
            )
    return [at[composed(column.name)][0] for column in wanted]


def _no_column(column: Wanted, names: Sequence[str], source: OpenedSource) -> Failure:
    """VFL0602, with the column that is likely meant, as a spec writes it."""
    lower = [name.lower() for name in names]
    near = difflib.get_close_matches(column.name.lower(), lower, 1)
    begun = [name for name in lower if name.startswith(column.name.lower())]  # PT08 of PT08.S1(CO)
    guess = next((name for name in names if name.lower() in (near or begun)[:1]), None)
    help = f"did you mean {written(guess)}? " if guess else ""
    if guess and not is_name(guess):
        help += f"in a spec: feature {written(guess)}: float as NAME; "
    listed = ", ".join(map(written, names[:30])) + (", …" if len(names) > 30 else "")
    return Failure(
        "VFL0602",
        f"{source.party}'s table has no column {written(column.name)}: {source.shown}",
        f"{help}its columns are: {listed}" if names else "it has no columns",
        column.where,
    )


def _csv(source: OpenedSource, wanted: Sequence[Wanted]) -> str:
    """One query over all files; files with the same header are read together."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for file in source.files:
        heading = _heading(file, {composed(column.name) for column in wanted}, source.party)
        if heading is not None:
            groups.setdefault(heading, []).append(file)
    if not groups:
        raise empty(source.party, source.shown)
    parts = []
    for (delimiter, names), group in groups.items():
        positions = _positions(names, wanted, source)
        types = ", ".join(f"'h{i}': 'VARCHAR'" for i in range(len(names)))
        picks = ", ".join(f"h{at} AS c{i}" for i, at in enumerate(positions))
        files = ", ".join(literal(escaped(file)) for file in group)
        parts.append(
            f"SELECT {picks} FROM read_csv([{files}], auto_detect = false, header = true, "
            f"delim = {literal(delimiter)}, quote = '\"', escape = '\"', columns = {{{types}}}, "
            f"max_line_size = {LINE}, buffer_size = {BUFFER})"
        )
    return " UNION ALL ".join(parts)


def _heading(file: str, wanted: set[str], party: str) -> tuple[str, tuple[str, ...]] | None:
    """The delimiter and the column names of a file; None where the file is empty.

    The delimiter is the one that finds most of the wanted columns in the first line, so that a
    separator inside values (`Action|Comedy`) cannot mislead.
    """
    with pa.input_stream(file, compression="detect") as stream:
        first = block = stream.read(1 << 16)
        while block and b"\n" not in block and len(first) <= HEADING:
            block = stream.read(1 << 16)
            first += block
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise failed(
            party, file, "it is UTF-16", "save it as UTF-8, for instance with iconv -f UTF-16 -t UTF-8"
        )
    if b"\0" in first:
        raise failed(party, file, "it contains NUL bytes: it is not text, or not UTF-8", "save it as UTF-8")
    if len(first) > HEADING and b"\n" not in first:
        raise Failure(
            "VFL0632",
            f"{party}'s file is not a table: its first line has more than {HEADING >> 20} MiB: {file}",
            "check what wrote the file: the first line of a text file has the columns' names",
        )
    text = first.decode("utf-8-sig", errors="replace")
    if not text.strip():
        return None
    delimiters = "\t,;|" if ".tsv" in file.lower() or ".tab" in file.lower() else ",;\t|"
    headings = {}
    for delimiter in delimiters:
        with suppress(csv.Error):  # without its delimiter a wide heading is one field, which may be too long
            headings[delimiter] = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if not headings:
        raise failed(party, file, "its first line has a name of more than 128 KiB")
    best = max(headings, key=lambda d: (len(wanted & {*map(composed, headings[d])}), len(headings[d])))
    return best, tuple(headings[best])
