"""A spec, trained, exported to ONNX and imported again: the same model, with the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from importing.onnx_testing import session
from library.library_specs import spec as of_block
from specs.examples import few_fields
from vflc_common.arrays import Array
from vflc_runtime.bundle.slices import joined
from vflc_runtime.data.dataset import Dataset
from vflc_runtime.data.generate import generate
from vflc_runtime.export.run import export
from vflc_runtime.run import loading
from vflc_runtime.run.session import Session
from vflc_runtime.run.state import RunFolder
from vflc_runtime.run.train import TrainOptions, train
from vflc_runtime.run.trained import trained_session

from vflc.diagnostics import SourceText
from vflc.driver import compile_source
from vflc.importing.run import WrittenSpec, import_model, weights_of

BLOCKS = ("BiasedMF", "DCN stacked", "PNN", "TwoTower dot")
"""Blocks of the library with layers that no example has."""
HERE_ALONE = ("label_only", "mmoe_splitrec", "three_parties", "u_shape")
"""Examples that are imported from ONNX alone: in Keras they are layers that others have. Others are imported
from both in `test_importing_round_trip.py`, which trains them once."""


def exported(text: str, folder: Path, precision: str = "float32", merged: bool = True) -> Path:
    """The merged file of a spec that was trained on generated rows; or the folder of the parties' files."""
    compile_source(SourceText("model.vfl", text), precision=precision).write(folder / "bundle")
    tables = generate(loading.encoders(Session(folder / "bundle", threads=1).bundle), 60, 4)
    train(folder / "bundle", tables, folder / "run", TrainOptions(epochs=1, batch=32, threads=1))
    export(folder / "run", folder / "out", "onnx", merged=merged, sources=tables)
    return folder / "out" / "model.onnx" if merged else folder / "out"


def predicted(made: Session, fitted: Mapping[str, Any] | None, tables: Any) -> dict[str, Array]:
    described = loading.encoders(made.bundle)
    precision = made.bundle.manifest.precision
    parties = {party: tables[party] for party in described["parties"]}
    data = Dataset.load(described, parties, fitted, False, precision=precision)
    return {name: np.array(value) for name, value in made.predict(data.batch(np.arange(data.rows))).items()}


def check(text: str, folder: Path, precision: str = "float32") -> WrittenSpec:
    return check_file(exported(text, folder, precision), folder, precision)


def check_file(path: Path, folder: Path, precision: str = "float32") -> WrittenSpec:
    """The models of a file and its run predict the same for new rows, and have the same weights."""
    spec = import_model(path, {}, {})
    run = RunFolder(folder / "run")
    trained, again = (
        trained_session(run, "predict", "onnx", 1),
        session(spec, path, folder / "again-onnx", precision),
    )
    tables = generate(loading.encoders(trained.bundle), 50, 9)
    wanted = predicted(trained, run.fitted(trained.bundle), tables)
    found = predicted(again, None, tables)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert np.std(values) > 0
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)
    held = {n: value for engine in trained.engines.values() for n, value in engine.weights().items()}
    whole, given = joined(trained.bundle.plans.values(), held), weights_of(path, spec)
    assert given.keys() == spec.weights.keys() and set(spec.weights.values()) == set(whole)
    for name, at in spec.weights.items():
        np.testing.assert_array_equal(given[name].reshape(whole[at].shape), whole[at])
    return spec


@pytest.mark.parametrize("name", HERE_ALONE)
def test_example(name: str, tmp_path: Path) -> None:
    check(few_fields(name), tmp_path)


@pytest.mark.parametrize("name", BLOCKS)
def test_block_of_the_library(name: str, tmp_path: Path) -> None:
    check(of_block(name), tmp_path)
