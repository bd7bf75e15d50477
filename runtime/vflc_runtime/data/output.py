"""Tables that are written: predictions, and the rows that parties have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vflc_runtime import files
from vflc_runtime.errors import Failure
from vflc_runtime.metrics import ClassNames

SUFFIXES = (".csv", ".parquet")


def check_out(out_file: Path) -> Path:
    """The file; VFL0612 where its format is not known."""
    if out_file.suffix not in SUFFIXES:
        raise Failure(
            "VFL0612", f"cannot write {out_file}: the format is not known", "end its name in .csv or .parquet"
        )
    return out_file


def write_table(path: Path, batches: Iterable[pa.RecordBatch]) -> int:
    """Writes batches of rows to a file that `check_out` let pass; how many rows there were.

    The file is there whole or not at all: it has another name until all is written.
    """
    new, rows = path.with_name(f".{path.name}.new"), 0
    writer: Any = None
    with files.writing(path):
        try:
            new.unlink(missing_ok=True)
            os.close(files.private(new, os.O_WRONLY | os.O_CREAT))  # its rows are for their owner alone
            for batch in batches:
                writer = writer or _writer(path.suffix, new, batch)
                writer.write_batch(batch)
                rows += batch.num_rows
            if writer is not None:
                writer.close()
                files.sync(new)
                new.replace(path)
                files.sync(path.parent)
        finally:
            new.unlink(missing_ok=True)
    return rows


def _writer(suffix: str, path: Path, first: pa.RecordBatch) -> Any:
    """Writes batches such as the first one."""
    if suffix == ".csv":
        from pyarrow import csv

        return csv.CSVWriter(str(path), first.schema)
    from pyarrow import parquet

    return parquet.ParquetWriter(str(path), first.schema, use_dictionary=_repeated(first))


def _repeated(batch: pa.RecordBatch) -> list[str]:
    """The columns of texts that repeat; of anything else, a dictionary takes six times as long, and room."""
    texts = [(name, c) for name, c in zip(batch.schema.names, batch.columns, strict=True) if _is_text(c)]
    return [name for name, column in texts if 2 * pc.count_distinct(column).as_py() < len(column)]


def _is_text(column: pa.Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def titled(name: str, values: NDArray[Any], classes: ClassNames) -> dict[str, pa.Array]:
    """The columns of a prediction [n, …].

    One number is `NAME`, several are `NAME.0`, `NAME.1`, …. Shares of classes with names are
    `NAME.CLASS`, and `NAME` is the class with the largest; of two classes the share of the second
    is predicted.
    """
    values = values.reshape(len(values), -1)
    width = values.shape[1]
    if classes and width == 1 == len(classes) - 1:
        likely, shares = (values[:, 0] > 0.5).astype(np.int64), {classes[1]: values[:, 0]}
    elif classes and width == len(classes):
        likely, shares = values.argmax(1), dict(zip(classes, values.T, strict=True))
    else:
        titles = [name] if width == 1 else [f"{name}.{index}" for index in range(width)]
        return {t: pa.array(np.ascontiguousarray(v)) for t, v in zip(titles, values.T, strict=True)}
    alike = len({isinstance(each, str) for each in classes}) == 1
    winners = pa.array(classes if alike else [str(each) for each in classes]).take(pa.array(likely))
    return {name: winners, **{f"{name}.{c}": pa.array(np.ascontiguousarray(v)) for c, v in shares.items()}}
