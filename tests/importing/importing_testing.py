"""Models imported and compared: the predictions of a Keras model, and of the spec with its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from vflc_runtime.bundle.slices import cut
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.run import loading
from vflc_runtime.run.session import Session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.importing.archive import Archive
from vflc.importing.keras_weights import WeightsFile
from vflc.importing.run import WrittenSpec, import_model

Owned = Mapping[str, Sequence[str]]
Array = NDArray[Any]


def session(spec: WrittenSpec, archive: Path, folder: Path, precision: str = "float32") -> Session:
    """The spec compiled, with the weights of the file."""
    compile_source(SourceText("imported.vfl", spec.text), precision=precision).write(folder)
    made = Session(folder, threads=1)
    held = WeightsFile(Archive(archive))
    weights = {name: held.read(at).astype(precision) for name, at in spec.weights.items()}
    trained = {w.whole for e in made.engines.values() for w in e.plan.weights.values() if w.fitted is None}
    assert trained <= set(weights), "weights that the file does not have"
    for engine in made.engines.values():
        for name, weight in engine.plan.weights.items():
            part = cut(engine.plan, weights)[name]
            assert part.size == np.prod(weight.shape), name
        engine.load(
            {n: v.reshape(engine.plan.weights[n].shape) for n, v in cut(engine.plan, weights).items()}
        )
    return made


def inputs(made: Session, tables: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Array]:
    """What the session reads, of tables by party and column."""
    sources = {}
    for party, columns in tables.items():
        sources[party] = str(folder / f"{party}.parquet")
        rows = len(next(iter(columns.values())))
        pq.write_table(pa.table({"ID": np.arange(rows) + 1000, **columns}), sources[party])
    precision = made.bundle.manifest.precision
    return Dataset.load(loading.encoders(made.bundle), sources, precision=precision).inputs


def predictions(
    model: Any, owners: Owned, labels: Owned, tables: Mapping[str, Mapping[str, Any]], folder: Path
) -> tuple[str, list[Array]]:
    """The text of the spec of a Keras model, and what the spec predicts with the model's weights."""
    path = folder / "model.keras"
    model.save(path)
    spec = import_model(path, owners, labels)
    made = session(spec, path, folder / "bundle")
    found = made.predict(inputs(made, tables, folder))
    return spec.text, [np.asarray(found[name]) for names in labels.values() for name in names]
