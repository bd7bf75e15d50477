"""What the `prepare.py` scripts of the examples share: arguments, archives, Parquet."""

from __future__ import annotations

import argparse
import gzip
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Tables = Mapping[str, pa.Table | pa.RecordBatchReader]
"""By file name without `.parquet`: `alice`, or `test/alice`. A reader is written batch by batch."""


class Unusable(Exception):
    """The source is not what was expected; the text says what to do."""


class Archive:
    """The files of a published data set, by name, from its zip archive or its unpacked folder."""

    def __init__(self, source: str) -> None:
        self.path = Path(source).expanduser()
        self._zip: zipfile.ZipFile | None = None
        if not self.path.exists():
            raise Unusable(f"there is no file or folder {source}")
        if self.path.is_file():
            try:
                self._zip = zipfile.ZipFile(self.path)
            except zipfile.BadZipFile:
                raise Unusable(
                    f"{source} is not a zip archive; give the archive or its unpacked folder"
                ) from None

    def read(self, name: str) -> bytes:
        """A file's content, wherever in the archive it lies; `name.gz` will do."""
        for wanted in (name, f"{name}.gz"):
            found = self._find(wanted)
            if found is not None:
                return gzip.decompress(found) if wanted.endswith(".gz") else found
        raise Unusable(f"{self.path} holds no {name}; give the archive as it was published, or its folder")

    def _find(self, name: str) -> bytes | None:
        try:
            if self._zip is not None:
                inside = [path for path in self._zip.namelist() if path.split("/")[-1] == name]
                return self._zip.read(inside[0]) if inside else None
            paths = [self.path / name, *sorted(self.path.glob(f"*/{name}"))]
            return next((path.read_bytes() for path in paths if path.is_file()), None)
        except (OSError, zipfile.BadZipFile, RuntimeError) as error:
            raise Unusable(f"{name} cannot be read from {self.path}: {error}") from None


def shuffled(table: pa.Table, seed: int) -> pa.Table:
    """The rows in another order: the parties' tables are not aligned, as in life."""
    return table.take(pa.array(np.random.default_rng(seed).permutation(table.num_rows)))


def main(
    description: str,
    prepare: Callable[[Any], Tables],
    generate: Callable[[int, int], Tables],
    arguments: list[str] | None = None,
    source: Callable[[str], Any] = Archive,
) -> int:
    """The command line of a `prepare.py`; writes the `.parquet` file of every table.

    Args:
        description: shown by `--help`.
        prepare: makes the parties' tables from the published data set, as `source` opened it.
        generate: makes tables of the same form from a number of rows and a seed.
        arguments: of the command line; None takes the process's own.
        source: opens what `--from` names.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=description)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--from", dest="source", metavar="SOURCE", help="the archive, or its unpacked folder")
    what.add_argument("--generate", type=int, metavar="ROWS", help="make rows with a planted signal instead")
    parser.add_argument("--seed", type=int, default=0, help="which rows --generate makes (default 0)")
    parser.add_argument("--out", required=True, metavar="DIR", help="where PARTY.parquet are written")
    given = parser.parse_args(arguments)
    if given.generate is not None and given.generate < 1:
        parser.error("--generate needs at least one row")
    if given.seed < 0:
        parser.error("--seed is 0 or more")
    try:
        tables = prepare(source(given.source)) if given.source else generate(given.generate, given.seed)
        for name, table in tables.items():
            file = Path(given.out) / f"{name}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            rows = _write(table, file)
            print(f"{file}: {rows} rows: {', '.join(table.schema.names)}")
    except (Unusable, OSError, pa.ArrowInvalid) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def _write(table: pa.Table | pa.RecordBatchReader, file: Path) -> int:
    """Writes a file whole or not at all; returns its number of rows."""
    part, rows = file.with_suffix(".part"), 0
    batches = table.to_batches() if isinstance(table, pa.Table) else table
    try:
        with pq.ParquetWriter(part, table.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return rows
