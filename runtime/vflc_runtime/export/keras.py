"""Exports to Keras: encoders that Keras has become layers before the place's own models.

`Hashing`, `StringLookup`, `IntegerLookup`, `Discretization` and `Normalization` give the ids and
numbers of the runtime's encoders. Keras has no layer that splits text: the model takes the pieces.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from vflc_common.arrays import Array

from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.errors import Failure
from vflc_runtime.export.description import signature
from vflc_runtime.export.keras_encoders import KerasEncoding, check_keras, layer_name, name_operations
from vflc_runtime.export.keras_whole import Whole, add_tables
from vflc_runtime.export.raw import RawFeature
from vflc_runtime.run.session import Session
from vflc_runtime.scratch import scratch_folder

if TYPE_CHECKING:
    from vflc_runtime.export.model import ExportedModel, FedFile, Signature

ALONE = "one"
"""The input of a model that reads nothing: a single 1."""


class KerasFormat:
    """See `Format`."""

    suffix = ".keras"

    def __init__(self, session: Session, fitted: Mapping[str, Any]) -> None:
        self._session, self._fitted = session, fitted
        self._precision = session.bundle.manifest.precision

    def check(self, raw: RawFeature) -> None:
        check_keras(raw)

    def signatures(self, model: ExportedModel) -> dict[str, Signature]:
        found: dict[str, Signature] = {}
        for part in model.parts:
            core = self._core(part.place, part.graph)
            for names, tensors in ((part.inputs or (ALONE,), core.inputs), (part.outputs, core.outputs)):
                for name, tensor in zip(names, tensors, strict=True):
                    shape = ("batch", *(size or "most" for size in tensor.shape[1:]))
                    found[name] = (tensor.dtype, shape)
        return found

    def write(self, model: ExportedModel, path: Path, description: dict[str, Any]) -> None:
        keras = tensorflow().keras
        inputs: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for raw in model.raw.values():
            if not raw.encoded:
                inputs[raw.id] = _input(raw, self._precision)
                values[raw.id] = KerasEncoding(raw, self._precision, keras).build(inputs[raw.id])
                name_operations(values[raw.id], raw.id)
        if model.whole:
            return self._write_whole(model, path, inputs, values)
        for part in model.parts:
            core = self._core(part.place, part.graph)
            _take(core, part.inputs, inputs, values)
            made = core([values[name] for name in part.inputs or (ALONE,)])
            outputs = made if isinstance(made, list) else [made]
            values.update(zip(part.outputs, outputs, strict=True))
        _model(model, inputs, values).save(path)

    def _write_whole(
        self, model: ExportedModel, path: Path, inputs: dict[str, Any], values: dict[str, Any]
    ) -> None:
        whole = Whole(self._session)
        _take(whole.model, whole.inputs, inputs, values)
        values.update(whole.build(values))
        exported = _model(model, inputs, values)
        whole.compile(exported)
        exported.save(path)
        add_tables(path, self._session.bundle, self._fitted, whole.labels)

    def _core(self, place: str, graph: str) -> Any:
        """The trained model of a graph, under a name that no other has."""
        core = self._session.engines[place].model(graph)  # type: ignore[attr-defined]
        core.name = layer_name(f"{place}.{graph}")
        return core

    def run(self, trials: list[FedFile]) -> list[dict[str, Array]]:
        """See `Format`; in a process of its own that cannot import vflc."""
        with scratch_folder() as folder:
            arguments: list[str] = []
            for number, trial in enumerate(trials):
                given, found = (str(folder / f"{number}.{end}.npz") for end in ("in", "out"))
                feeds = {**trial.feeds, ALONE: np.ones(1, self._precision)}
                arrays: dict[str, Any] = {f"{i}:{name}": feeds[name] for i, name in enumerate(feeds)}
                np.savez(given, **arrays)
                arguments += [str(trial.path.absolute()), given, found]
            _load_elsewhere(arguments, str(folder))
            return [_read(found) for found in arguments[2::3]]


def _take(core: Any, names: Sequence[str], inputs: dict[str, Any], values: dict[str, Any]) -> None:
    """Makes an input of each value that a model reads and that is not there."""
    for name, tensor in zip(names or (ALONE,), core.inputs, strict=True):
        if name not in values:
            made = tensorflow().keras.Input(
                batch_shape=tensor.shape, dtype=tensor.dtype, name=layer_name(name)
            )
            inputs[name] = values[name] = made


def _model(model: ExportedModel, inputs: dict[str, Any], values: dict[str, Any]) -> Any:
    outputs = {name: values[name] for name in model.outputs}
    return tensorflow().keras.Model(inputs, outputs, name=layer_name(model.name))


def _load_elsewhere(arguments: list[str], folder: str) -> None:
    script = str(Path(__file__).with_name("loads.py"))
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise Failure(
            "VFL0501",
            f"the exported models do not load without vflc: {last[:300]}",
            "this is a bug in vflc: please report it",
        )


def _read(archive: str) -> dict[str, Array]:
    with np.load(archive) as arrays:
        return {name.partition(":")[2]: arrays[name] for name in arrays.files}


def _input(raw: RawFeature, precision: str) -> Any:
    type, shape = signature(raw, precision)
    batch_shape = tuple(None for _ in shape)
    return tensorflow().keras.Input(batch_shape=batch_shape, dtype=type, name=layer_name(raw.id))
