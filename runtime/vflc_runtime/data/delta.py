"""Tables of Delta Lake in a folder of this machine: the rows of their latest version, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from vflc_runtime.data.table_logs import DELTA
from vflc_runtime.errors import Failure

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from vflc_runtime.data.servers.receive import ChooseColumns


def is_delta(folder: Path) -> bool:
    """Whether a folder is such a table, and not one that has some below it."""
    return (folder / DELTA).is_dir()


def open_delta(folder: Path, party: str, shown: str) -> tuple[pads.Dataset, list[str]]:
    """The table's latest version, and its files, in the order in which they are read.

    Raises:
        Failure: VFL0601, its log cannot be read, or asks for more than the library can do, such as leaving
            out single rows of a file; VFL0694, the library is missing.
    """
    try:
        import deltalake
    except ImportError:
        raise Failure(
            "VFL0694",
            f"{party}'s data is a table of Delta Lake, which needs the package deltalake: {shown}",
            "pip install 'vflc[delta]'",
        ) from None
    try:
        table = deltalake.DeltaTable(str(folder))
        found = table.to_pyarrow_dataset()
    except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
        reason = " ".join(str(error).split("\n", 1)[0].split())
        raise Failure(
            "VFL0601",
            f"{party}'s data cannot be read from {shown}, a table of Delta Lake: {reason[:200]}",
            "write its rows as Parquet by a tool that reads it, or let that tool rewrite the table without "
            "the feature that is named",
        ) from None
    import pyarrow.dataset as pads

    parts = sorted(found.get_fragments(), key=lambda part: part.path)
    whole = pads.FileSystemDataset(parts, found.schema, found.format, found.filesystem)
    return whole, [str(folder / part.path) for part in parts]


def batches_of(table: pads.Dataset, choose: ChooseColumns, limit: int | None) -> Iterator[pa.RecordBatch]:
    """Columns of the table, named c0, c1, …, in batches, the first of them empty; at most `limit` rows."""
    import pyarrow.dataset as pads

    names = choose(table.schema.names)
    columns = {f"c{i}": pads.field(name) for i, name in enumerate(names)}
    fields = [table.schema.field(name).with_name(f"c{i}") for i, name in enumerate(names)]
    yield pa.RecordBatch.from_pylist([], pa.schema(fields))
    scanner = table.scanner(columns=columns)
    yield from scanner.to_batches() if limit is None else scanner.head(limit).to_batches()
