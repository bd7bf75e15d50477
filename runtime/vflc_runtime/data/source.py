"""Opens a SOURCE as a DuckDB query: files, globs, folders of Parquet, SQL, or an Arrow table.

Only the columns that are asked for are read. Columns of a text file are read as text exactly as
they lie: what is a number is for the spec to say (see `align`), never guessed from the values.
"""

from __future__ import annotations

import csv
import difflib
import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import duckdb
import pyarrow as pa

from vflc_runtime.errors import Failure, Where

Source: TypeAlias = str | Path | pa.Table
"""A path, a glob, a folder of Parquet, `sql:SELECT …`, or a table in memory."""

FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
PACKED = {".gz", ".zst"}
_SQL = re.compile(r"\s*(sql:|(select|with|from)[\s('\"*])", re.IGNORECASE)
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


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
            "memory_limit": f"{max(memory_limit, 64 << 20)}B",
            "temp_directory": temp_directory,
        },
    )
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET lock_configuration = true")
    return connection


def load(
    connection: duckdb.DuckDBPyConnection, table: str, source: Source, wanted: Sequence[Wanted], party: str
) -> list[str]:
    """Reads the wanted columns of a source into `table` as columns c0, c1, …; rows keep their order.

    Returns:
        The DuckDB type of each column, in the order of `wanted`.

    Raises:
        Failure: VFL0601 (cannot be read), VFL0602 (a wanted column is not there), VFL0607 (no rows).
    """
    shown = describe(source)
    try:
        query = _query(connection, source, wanted, party, shown)
        connection.execute(f"CREATE TABLE {quote(table)} AS {query}")
        types = [row[1] for row in connection.execute(f"DESCRIBE {quote(table)}").fetchall()]
        (rows,) = connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone() or (0,)
    except duckdb.Error as error:
        raise unreadable(party, shown, error) from None
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise _failed(party, shown, str(error)) from None
    if not rows:
        raise _empty(party, shown)
    return types


def describe(source: Source) -> str:
    """A source as messages show it."""
    if isinstance(source, pa.Table):
        return "a table in memory"
    text = str(source)
    return text if len(text) <= 120 else text[:117] + "…"


def below(folder: Path, text: str) -> str:
    """A source as a file in `folder` names it: paths are relative to that folder."""
    if _SQL.match(text) or _REMOTE.match(text):
        return text
    return str(folder / Path(text).expanduser())


def quote(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def unreadable(party: str, shown: str, error: duckdb.Error) -> Failure:
    """DuckDB's refusal as a failure: VFL0612 where the disk is full, VFL0601 otherwise."""
    if isinstance(error, duckdb.InterruptException):
        raise KeyboardInterrupt from None
    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException) or "No space left" in text:
        return Failure(
            "VFL0612",
            f"there is no room to read and sort {party}'s data: {_reason(text)}",
            "free space in the temporary folder (TMPDIR), or give a larger memory limit",
        )
    return _failed(party, shown, _reason(text))


def _failed(party: str, shown: str, reason: str) -> Failure:
    help = "check the path, and that the file is CSV, TSV, Parquet or JSON"
    if _SQL.match(shown):
        help = "check the query, for instance in the duckdb command line"
    if "utf-8" in reason.lower() or "unicode" in reason.lower():
        help = "save the file as UTF-8"
    elif "state machine" in reason:  # what DuckDB says of CR LF and LF in one file
        reason = "it is no regular CSV: lines end in different ways, or a quote stands where none may"
        help = "give all lines the same end, for instance with dos2unix"
    return Failure("VFL0601", f"{party}'s data cannot be read from {shown}: {reason}", help)


def _empty(party: str, shown: str) -> Failure:
    return Failure("VFL0607", f"{party}'s table has no rows: {shown}", "give a table with at least two rows")


def _reason(text: str) -> str:
    """DuckDB's message without the lines of advice and the excerpt of our own SQL that follow it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ends = (
        i for i, line in enumerate(lines) if i and line.startswith(("Possible", "LINE ", "*", "Candidate"))
    )
    return " ".join(lines[: next(ends, 4)][:4])


def _query(
    connection: duckdb.DuckDBPyConnection, source: Source, wanted: Sequence[Wanted], party: str, shown: str
) -> str:
    if isinstance(source, pa.Table):
        positions = _positions(source.column_names, wanted, party, shown)
        picked = pa.Table.from_arrays([source.column(i) for i in positions], names=_aliases(wanted))
        view = f"given {party}"
        connection.register(view, picked)
        return f"SELECT * FROM {quote(view)}"
    text = str(source)
    if _SQL.match(text):
        statement = re.sub(r"^\s*sql:", "", text, flags=re.IGNORECASE).strip().rstrip(";")
        return _select(connection, f"(\n{statement}\n)", wanted, party, shown)
    files = _files(text, party)
    format = _format(files, party)
    if format == "csv":
        return _csv(files, wanted, party, shown)
    if all(Path(file).stat().st_size == 0 for file in files):
        raise _empty(party, shown)
    listed = _list(files)
    if format == "parquet":
        return _select(connection, f"read_parquet({listed}, union_by_name = true)", wanted, party, shown)
    names = _names(connection, f"read_json({listed}, union_by_name = true)")
    _positions(names, wanted, party, shown)
    types = ", ".join(sorted({f"{literal(column.name)}: 'VARCHAR'" for column in wanted}))
    return _picked(f"read_json({listed}, columns = {{{types}}})", wanted)


def _select(
    connection: duckdb.DuckDBPyConnection, table: str, wanted: Sequence[Wanted], party: str, shown: str
) -> str:
    _positions(_names(connection, table), wanted, party, shown)
    return _picked(table, wanted)


def _picked(table: str, wanted: Sequence[Wanted]) -> str:
    picks = (f"{quote(c.name)} AS {alias}" for c, alias in zip(wanted, _aliases(wanted), strict=True))
    return f"SELECT {', '.join(picks)} FROM {table}"


def _names(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]


def _aliases(wanted: Sequence[Wanted]) -> list[str]:
    return [f"c{i}" for i in range(len(wanted))]


def _positions(names: Sequence[str], wanted: Sequence[Wanted], party: str, shown: str) -> list[int]:
    """Where the wanted columns are among `names`; exact case, though DuckDB itself would not mind."""
    for column in wanted:
        if column.name not in names:
            near = difflib.get_close_matches(column.name.lower(), [n.lower() for n in names], 1)
            guess = next((n for n in names if near and n.lower() == near[0]), None)
            listed = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
            help = f"did you mean {guess}? " if guess else ""
            raise Failure(
                "VFL0602",
                f"{party}'s table has no column {column.name}: {shown}",
                f"{help}its columns are: {listed}",
                column.where,
            )
        if list(names).count(column.name) > 1:
            raise Failure(
                "VFL0601",
                f"{party}'s table has {list(names).count(column.name)} columns named {column.name}: {shown}",
                "rename all but one of them",
                column.where,
            )
    return [list(names).index(column.name) for column in wanted]


def _files(text: str, party: str) -> list[str]:
    """The files a path, folder or glob stands for, sorted by name."""
    if _REMOTE.match(text):
        raise _failed(party, text, "sources on a network are not read; copy the file to this machine first")
    if not text.strip():
        raise _failed(party, text, "it is empty: name a file, a folder or a query")
    path = Path(text).expanduser()
    try:
        if path.is_dir():
            found = [str(p) for p in path.rglob("*.p*") if _is_parquet(p, path)]
            if not found:
                raise _failed(party, text, "the folder holds no Parquet files")
        elif path.exists():
            found = [str(path)]
        else:
            found = [p for p in glob.glob(str(path), recursive=True) if Path(p).is_file()]  # noqa: PTH207
    except (OSError, ValueError, re.error) as error:
        raise _failed(party, text, str(error)) from None
    if not found:
        raise _failed(party, text, "there is no such file")
    return sorted(found)


def _is_parquet(path: Path, folder: Path) -> bool:
    """Hidden files and folders are not the user's tables."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix in (".parquet", ".pq") and not hidden and path.is_file()


def _format(files: Sequence[str], party: str) -> str:
    formats = set()
    for file in files:
        suffixes = [s.lower() for s in Path(file).suffixes]
        while suffixes and suffixes[-1] in PACKED:
            suffixes.pop()
        formats.add(FORMATS.get(suffixes[-1] if suffixes else "", "") or _by_content(file, party))
    if len(formats) > 1:
        raise _failed(party, ", ".join(files[:3]), f"files of several kinds: {', '.join(sorted(formats))}")
    return formats.pop()


def _by_content(file: str, party: str) -> str:
    with Path(file).open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "parquet"
    endings = ", ".join(FORMATS)
    raise _failed(
        party, file, f"the kind of file is not known by its ending; known are {endings} (.gz, .zst)"
    )


def _csv(files: Sequence[str], wanted: Sequence[Wanted], party: str, shown: str) -> str:
    """One query over all files; files with the same header are read together."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for file in files:
        heading = _heading(file, {column.name for column in wanted})
        if heading is not None:
            groups.setdefault(heading, []).append(file)
    if not groups:
        raise _empty(party, shown)
    parts = []
    for (delimiter, names), group in groups.items():
        positions = _positions(names, wanted, party, shown)
        types = ", ".join(f"'h{i}': 'VARCHAR'" for i in range(len(names)))
        picks = ", ".join(f"h{at} AS c{i}" for i, at in enumerate(positions))
        parts.append(
            f"SELECT {picks} FROM read_csv({_list(group)}, auto_detect = false, header = true, "
            f"delim = {literal(delimiter)}, quote = '\"', escape = '\"', columns = {{{types}}}, "
            f"max_line_size = 16777216)"
        )
    return " UNION ALL ".join(parts)


def _heading(file: str, wanted: set[str]) -> tuple[str, tuple[str, ...]] | None:
    """The delimiter and the column names of a file; None where the file is empty.

    The delimiter is the one that finds most of the wanted columns in the first line, so that a
    separator inside values (`Action|Comedy`) cannot mislead.
    """
    with pa.input_stream(file, compression="detect") as stream:
        first = b""
        while block := stream.read(1 << 16):
            first += block
            if b"\n" in block:
                break
    text = first.decode("utf-8-sig", errors="replace")
    if not text.strip():
        return None
    delimiters = "\t,;|" if ".tsv" in file.lower() or ".tab" in file.lower() else ",;\t|"
    headings = {d: next(csv.reader(text.splitlines(keepends=True), delimiter=d)) for d in delimiters}
    best = max(delimiters, key=lambda d: (len(wanted & set(headings[d])), len(headings[d])))
    return best, tuple(headings[best])


def _list(files: Sequence[str]) -> str:
    """Files as a SQL list, with what DuckDB would take for a glob made literal."""
    return "[" + ", ".join(literal(re.sub(r"[*?\[]", r"[\g<0>]", file)) for file in files) + "]"
