"""Predictions by key, from raw columns to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vflc_runtime import files
from vflc_runtime.data.batches import sequential
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.source import Source
from vflc_runtime.data.values import restored
from vflc_runtime.errors import Failure
from vflc_runtime.events import Listener, silent
from vflc_runtime.metrics import Classes
from vflc_runtime.run import loading
from vflc_runtime.run.evaluate import pass_over, trained
from vflc_runtime.run.loop import EVALUATION_BATCH
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder

Array = NDArray[Any]
SUFFIXES = (".csv", ".parquet")


def predict(
    run: Path | str,
    sources: Mapping[str, Source],
    out_file: Path | str,
    engine: str = "onnx",
    threads: int | None = None,
    listen: Listener = silent,
) -> int:
    """Writes the predictions of the model in `run` for each party's source, in order of the keys.

    The file has the key and the columns of each prediction, see `titled`, in the units of the table.
    It is there whole or not at all. Labels are not needed.

    Args:
        run: the run's folder.
        sources: of each party its source.
        out_file: a `.csv` or a `.parquet` file.
        engine: `onnx` or `keras`.
        threads: threads an operator may use; a core each where None.
        listen: is told when the data is loaded.

    Returns:
        The number of rows.

    Raises:
        Failure: VFL0601 to 0607 and 0610 to 0618 as data and run give cause.
    """
    out_file = check_out(Path(out_file))
    folder = RunFolder(Path(run))
    session = trained(folder, "predict", engine, threads, listen=listen)
    data = loading.load_trained(session.bundle, sources, folder.fitted(session.bundle), False, listen)
    pass_over(session, folder, "predict", data)
    write_predictions(session, data, out_file)
    return data.rows


def check_out(out_file: Path) -> Path:
    """The file; VFL0612 where its format is not known."""
    if out_file.suffix not in SUFFIXES:
        raise Failure(
            "VFL0612", f"cannot write {out_file}: the format is not known", "end its name in .csv or .parquet"
        )
    return out_file


def write_predictions(session: Session, data: Dataset, out_file: Path) -> None:
    """Predicts all rows and writes what the places here have of it."""
    name, keys = "row", pa.array(np.arange(data.rows))  # a place without a table knows no keys
    if session.bundle.parties:
        party, name = _key_name(session)
        keys = restored(data.keys, data.key_types[party], out_file.suffix)
    with files.writing(out_file), table_writer(out_file) as write:
        for rows in sequential(np.arange(data.rows), EVALUATION_BATCH):
            write(_batch(session, data, rows, {name: keys.slice(int(rows[0]), len(rows))}))


def _batch(
    session: Session, data: Dataset, rows: NDArray[np.int64], columns: dict[str, Any]
) -> pa.RecordBatch:
    classes = {
        name: found
        for plan in session.bundle.plans.values()
        for name, found in plan.reports["predict"].classes.items()
    }
    for name, values in session.predict(data.batch(rows), len(rows)).items():
        columns |= titled(name, values.reshape(len(rows), -1), classes.get(name, ()))
    return pa.record_batch(columns)


def titled(name: str, values: Array, classes: Classes) -> dict[str, pa.Array]:
    """The columns of a prediction [n, k].

    One number is `NAME`, several are `NAME.0`, `NAME.1`, …. Shares of classes with names are
    `NAME.CLASS`, and `NAME` is the class with the largest; of two classes the share of the second
    is predicted.
    """
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


def _key_name(session: Session) -> tuple[str, str]:
    """The party and the name of the key at the first party that has a prediction, or at the first of all."""
    plans = session.bundle.plans.values()
    described = loading.encoders(session.bundle)["parties"]
    predicting = [p for plan in plans if plan.reports["predict"].predictions for p in plan.tables]
    party = (predicting or list(described))[0]
    return party, str(described[party]["key"])


@contextmanager
def table_writer(path: Path) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Writes batches to a table under another name, and gives it its own when all is written."""
    new = path.with_name(f".{path.name}.new")
    writer: Any = None
    new.unlink(missing_ok=True)
    os.close(files.private(new, os.O_WRONLY | os.O_CREAT))  # predictions are for their owner alone

    def write(batch: pa.RecordBatch) -> None:
        nonlocal writer
        if writer is None:
            writer = _writer(path.suffix, new, batch.schema)
        writer.write_batch(batch)

    try:
        yield write
        if writer is not None:
            writer.close()
            files.sync(new)
            new.replace(path)
            files.sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _writer(suffix: str, path: Path, schema: pa.Schema) -> Any:
    if suffix == ".csv":
        from pyarrow import csv

        return csv.CSVWriter(str(path), schema)
    from pyarrow import parquet

    return parquet.ParquetWriter(str(path), schema)
