"""What a SOURCE is and which files it stands for: paths, globs, folders of Parquet, SQL, URLs, Arrow tables.

A source that the party gives itself may lie anywhere, at a server, too: see `servers`. One that a file
gives (`data =` in deploy.toml), which somebody else may have written, reads only at or below that file's
folder, and at servers that the party's environment allows.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import duckdb
import pyarrow as pa

from vflc_runtime.data import query
from vflc_runtime.data.delta import is_delta, open_delta
from vflc_runtime.data.servers.url import SCHEMES, URL, Bucket, ServerTable, allow, parse, without_password
from vflc_runtime.data.table_logs import refuse_log
from vflc_runtime.errors import Failure

if TYPE_CHECKING:
    import pyarrow.dataset as pads

FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
PACKED = {".gz", ".zst"}
SQL = re.compile(r"\s*(sql:|(select|with|from)[\s('\"*])", re.IGNORECASE)
LINE = 16 << 20
"""Bytes that a line of a text file may have, beyond the first, and an object of JSON."""
BUFFER = 2 * LINE
"""Bytes of a text file that a thread holds at a time; DuckDB itself takes sixteen times the longest line."""
_TOO_LONG = ("Maximum line size", "Parallel CSV Reader", "maximum_object_size")
"""What DuckDB says of a line of more; it splits files between threads where lines end."""
_QUERY = re.compile(r"\s(from|where|join)\s", re.IGNORECASE)
"""What is in a query, and hardly in the name of a file."""
_CSV_LINE = re.compile(r"[\w ]*: CSV Error on Line: (\d+)")


@dataclass(frozen=True, slots=True)
class Below:
    """A source as a file names it: its paths are relative to the file's folder, and stay below it.

    Args:
        folder: of the file that names the source.
        text: a path, a glob, a folder of Parquet, a query, or a URL.
    """

    folder: Path
    text: str

    def __str__(self) -> str:
        return self.text


TableSource: TypeAlias = str | Path | Below | pa.Table
"""A path, a glob, a folder of Parquet, `sql:SELECT …`, a URL, one of them out of a file, or a table."""


@dataclass
class OpenedSource:
    """A source whose files are known and may be read.

    Attributes:
        party: whose it is.
        shown: the source as messages show it.
        format: `csv`, `parquet`, `json`, `query`, `arrow`, `delta` or `server`.
        files: what it reads, sorted by name; all lie where they may.
        globs: patterns of a query, which DuckDB resolves again.
        sql: of a query.
        table: of a source in memory.
        server: of a source at a database server.
        dataset: of a table of Delta Lake.
    """

    party: str
    shown: str
    format: str
    files: list[str] = field(default_factory=list)
    globs: list[str] = field(default_factory=list)
    sql: str = ""
    table: pa.Table | None = None
    server: ServerTable | None = None
    dataset: pads.Dataset | None = None

    @property
    def in_batches(self) -> bool:
        """Whether it comes in batches of Arrow, and DuckDB does not read it itself."""
        return self.server is not None or self.dataset is not None


def open_source(
    connection: duckdb.DuckDBPyConnection, source: TableSource, party: str, sample: bool = False
) -> OpenedSource:
    """Finds the files of a source; reads none of their rows, but copies those of a bucket.

    Args:
        connection: parses SQL and resolves its globs; not yet locked. Copies are in its folder.
        source: what the party gave.
        party: its name.
        sample: whether of copies their first rows are enough.

    Raises:
        Failure: VFL0601 (there is no such file), VFL0607 (an empty file), VFL0630 (a query that is more
            than a SELECT), VFL0631 (a file that lies where it may not be read), VFL0692 (a URL that
            cannot be used), VFL0693 (one that a file names), VFL0694 (a package is missing), VFL0697 and
            VFL0699 (S3).
    """
    shown = describe(source)
    if isinstance(source, pa.Table):
        return OpenedSource(party, shown, "arrow", table=source)
    text, folder = str(source), source.folder if isinstance(source, Below) else None
    try:
        if SQL.match(text):
            return _query(connection, text, folder, party, shown)
        if URL.match(text) and (named := parse(text, party)) is not None:
            if folder is not None:
                allow(named, party)
            return _at_server(connection, named, party, shown, sample)
        if is_delta(place := (folder or Path()) / Path(text).expanduser()):
            table, files = open_delta(place, party, shown)
            _permitted(files, folder, party)
            return OpenedSource(party, shown, "delta", dataset=table)
        files = _files(text if folder is None else str(folder / Path(text).expanduser()), party)
        _permitted(files, folder, party)
        return OpenedSource(party, shown, _format(files, party), files)
    except (OSError, ValueError, re.error) as error:
        raise failed(party, shown, str(error)) from None


def describe(source: TableSource) -> str:
    """A source as messages show it."""
    if isinstance(source, pa.Table):
        return "a table in memory"
    text = without_password(str(source))
    if isinstance(source, Below) and not SQL.match(text) and not URL.match(text):
        text = str(source.folder / text)
    return text if len(text) <= 120 else text[:117] + "…"


def quote(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def escaped(file: str) -> str:
    """A file's name with what DuckDB would take for a glob made literal."""
    return re.sub(r"[*?\[]", r"[\g<0>]", file)


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
    if any(sign in text for sign in _TOO_LONG):
        return Failure(
            "VFL0632",
            f"{party}'s file is not a table: a line or an object has more than {LINE >> 20} MiB: {shown}",
            "look for an unclosed quote, or for a program that writes no line breaks",
        )
    return failed(party, shown, _reason(text))


def failed(party: str, shown: str, reason: str, help: str | None = None) -> Failure:
    """VFL0601."""
    if help is None:
        help = "check the path, and that the file is CSV, TSV, Parquet or JSON"
        if SQL.match(shown):
            help = "check the query, for instance in the duckdb command line"
        if "utf-8" in reason.lower() or "unicode" in reason.lower():
            help = "save the file as UTF-8"
        elif "state machine" in reason:  # what DuckDB says of CR LF and LF in one file
            reason = "it is not a valid CSV file: lines end in different ways, or a quote is misplaced"
            help = "give all lines the same ending, for instance with dos2unix"
    return Failure("VFL0601", f"{party}'s data cannot be read from {shown}: {reason}", help)


def empty(party: str, shown: str) -> Failure:
    """VFL0607."""
    return Failure("VFL0607", f"{party}'s table has no rows: {shown}", "give a table with at least two rows")


def _reason(text: str) -> str:
    """DuckDB's message without the lines of advice, the excerpt of our own SQL and the rows that it shows."""
    if at := _CSV_LINE.match(text):  # the row itself follows, which may be anything, and then what is wrong
        wrong = text.split("\nPossible ")[0].strip().rpartition("\n")[2]
        return f"line {at[1]}: {wrong[:200]}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ends = (
        i for i, line in enumerate(lines) if i and line.startswith(("Possible", "LINE ", "*", "Candidate"))
    )
    return " ".join(lines[: next(ends, 4)][:4])


def _at_server(
    connection: duckdb.DuckDBPyConnection, named: ServerTable | Bucket, party: str, shown: str, sample: bool
) -> OpenedSource:
    """A table of a database, or copies of objects in the folder where `connection` spills to."""
    if isinstance(named, ServerTable):
        return OpenedSource(party, shown, "server", server=named)
    from vflc_runtime.data.servers.s3 import fetch

    ((spill,),) = connection.execute("SELECT current_setting('temp_directory')").fetchall()
    files = fetch(named, party, shown, Path(spill) / f"s3-{party}", sample)
    if not files:
        raise failed(party, shown, "there is no such object, and no Parquet file below it")
    return OpenedSource(party, shown, _format(files, party), files)


def _query(
    connection: duckdb.DuckDBPyConnection, text: str, folder: Path | None, party: str, shown: str
) -> OpenedSource:
    """A query, and every file that its globs stand for."""

    def place(path: str) -> str:
        _local(path, party)
        return str((folder or Path.cwd()) / Path(path).expanduser())

    try:
        checked = query.check(connection, re.sub(r"^\s*sql:", "", text, flags=re.IGNORECASE), party, place)
        found = {
            path: [row[0] for row in connection.execute("FROM glob(?)", [path]).fetchall()]
            for path in checked.paths
        }
    except duckdb.Error as error:
        raise unreadable(party, shown, error) from None
    for path, files in found.items():
        if not files:
            help = "check the query: put file names in quotes, relative to the current folder"
            raise failed(party, shown, f"there is no file {path}", help)
        _permitted(files, folder, party)
    files = sorted({file for files in found.values() for file in files})
    return OpenedSource(party, shown, "query", files, checked.paths, sql=checked.sql)


def _local(path: str, party: str) -> None:
    if URL.match(path):
        reason = f"on a network only {', '.join(SCHEMES)} are read, and not from within a query"
        raise failed(party, without_password(path), reason, "copy the file to this machine first")


def _permitted(files: Sequence[str], folder: Path | None, party: str) -> None:
    """VFL0631 where a file, or what it is a link to, lies outside the folder that may be read."""
    for file in files:
        real = Path(file).resolve()
        if folder is not None and not real.is_relative_to(folder.resolve()):
            raise Failure(
                "VFL0631",
                f"{party}'s data lies outside the folder of the file that names it: {real}, not in {folder}",
                "put the data into that folder or below it, or name it yourself: --data SOURCE",
            )
        if not real.is_file():
            raise failed(party, file, "it is a device or a pipe", "write the rows to a file first")


def _files(text: str, party: str) -> list[str]:
    """The files a path, folder or glob stands for, sorted by name."""
    _local(text, party)
    if not text.strip():
        raise failed(party, text, "it is empty: name a file, a folder or a query")
    path = Path(text).expanduser()
    if path.is_dir():
        refuse_log([p.relative_to(path).as_posix() for p in path.rglob("*.json")], party, text)
        found = [str(p) for p in path.rglob("*.p*") if _is_parquet(p, path)]
        if not found:
            raise failed(party, text, "the folder holds no Parquet files")
    elif path.exists():
        found = [str(path)]
    else:
        found = [p for p in glob.glob(str(path), recursive=True) if Path(p).is_file()]  # noqa: PTH207
    if not found:
        help = "a query starts with SELECT or WITH, or has `sql:` before it" if _QUERY.search(text) else None
        raise failed(party, text, "there is no such file", help)
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
        raise failed(party, ", ".join(files[:3]), f"files of several kinds: {', '.join(sorted(formats))}")
    return formats.pop()


def _by_content(file: str, party: str) -> str:
    with Path(file).open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "parquet"
    endings = ", ".join(FORMATS)
    raise failed(party, file, f"the file's ending is not known; use one of {endings} (.gz, .zst)")
