"""Exports to Keras: encoders that Keras has become layers before the place's own models.

`Hashing`, `StringLookup`, `IntegerLookup`, `Discretization` and `Normalization` give the ids and
numbers of the runtime's encoders. Keras has no layer that splits text: the model takes the pieces.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from vflc_common.arrays import Array
from vflc_common.encoder import TEXTS
from vflc_common.encoders import record
from vflc_common.encoding import MISSING, NotExpressed

from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.errors import Failure
from vflc_runtime.export.description import signature
from vflc_runtime.export.raw import RawFeature
from vflc_runtime.run.session import Session

if TYPE_CHECKING:
    from vflc_runtime.export.model import ExportedModel, FedFile, Signature

ALONE = "one"
"""The input of a model that reads nothing: a single 1."""


class KerasFormat:
    """See `Format`."""

    suffix = ".keras"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._precision = session.bundle.manifest.precision

    def check(self, raw: RawFeature) -> None:
        kind, chain = raw.taken, raw.encoders if raw.type == "string" else raw.filled()[1]
        for encoder in chain:
            after = record(encoder).after(kind)
            if record(encoder).keras is None or (after in TEXTS and kind in TEXTS):
                raise NotExpressed(f"Keras has no layer for `{encoder['name']}`")
            kind = after

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
                values[raw.id] = _Encoding(raw, self._precision).build(inputs[raw.id])
        for part in model.parts:
            core = self._core(part.place, part.graph)
            names = part.inputs or (ALONE,)
            for name, tensor in zip(names, core.inputs, strict=True):
                if name not in values:
                    inputs[name] = keras.Input(
                        batch_shape=tensor.shape, dtype=tensor.dtype, name=_layer_name(name)
                    )
                    values[name] = inputs[name]
            made = core([values[name] for name in names])
            outputs = made if isinstance(made, list) else [made]
            values.update(zip(part.outputs, outputs, strict=True))
        exported = keras.Model(
            inputs, {name: values[name] for name in model.outputs}, name=_layer_name(model.name)
        )
        exported.save(path)

    def _core(self, place: str, graph: str) -> Any:
        """The trained model of a graph, under a name that no other has."""
        core = self._session.engines[place].model(graph)  # type: ignore[attr-defined]
        core.name = _layer_name(f"{place}.{graph}")
        return core

    def run(self, trials: list[FedFile]) -> list[dict[str, Array]]:
        """See `Format`; in a process of its own that cannot import vflc."""
        with tempfile.TemporaryDirectory(prefix="vflc-") as folder:
            arguments: list[str] = []
            for number, trial in enumerate(trials):
                given, found = (str(Path(folder) / f"{number}.{end}.npz") for end in ("in", "out"))
                feeds = {**trial.feeds, ALONE: np.ones(1, self._precision)}
                arrays: dict[str, Any] = {f"{i}:{name}": feeds[name] for i, name in enumerate(feeds)}
                np.savez(given, **arrays)
                arguments += [str(trial.path.absolute()), given, found]
            _load_elsewhere(arguments, folder)
            return [_read(found) for found in arguments[2::3]]


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


def _layer_name(name: str) -> str:
    """Keras takes no slash in a name, and TensorFlow only some characters."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else f"-{ord(c):x}" for c in name)
    return kept if kept[0].isalnum() else f"v{kept}"


def _input(raw: RawFeature, precision: str) -> Any:
    type, shape = signature(raw, precision)
    batch_shape = tuple(None for _ in shape)
    return tensorflow().keras.Input(batch_shape=batch_shape, dtype=type, name=_layer_name(raw.id))


class _Encoding:
    """The layers that encode one raw column as the runtime does."""

    def __init__(self, raw: RawFeature, precision: str) -> None:
        keras = tensorflow().keras
        self.raw, self.precision, self.ops, self.layers = raw, precision, keras.ops, keras.layers

    def build(self, value: Any) -> Any:
        """From the raw column to ids in int32, or numbers [batch, 1]."""
        fill, chain = (None, self.raw.encoders) if self.raw.type == "string" else self.raw.filled()
        if self.raw.computes:
            value = self._number(value, fill)
        elif fill is not None:
            value = self.ops.where(self.absent(value), self.constant(int(fill), "int64"), value)
        for encoder in chain:
            layers = record(encoder).keras
            assert layers is not None, "what has no layer is left to the caller"
            value = layers(self, value, encoder)
        if self.raw.shape == "number":
            return self.ops.expand_dims(self.ops.cast(value, self.precision), -1)
        return self.ops.cast(value, "int32")

    def constant(self, value: Any, dtype: str) -> Any:
        return self.ops.convert_to_tensor(np.asarray(value), dtype=dtype)

    def absent(self, value: Any) -> Any:
        if self.raw.type == "int":
            return self.ops.equal(value, self.constant(MISSING, "int64"))
        found = self.layers.StringLookup(
            vocabulary=[""], num_oov_indices=1, mask_token=None, name=self.name("missing")
        )(value)
        return self.ops.equal(found, 1)

    def _number(self, value: Any, fill: Any) -> Any:
        """In float64, missing ones NaN."""
        ops = self.ops
        if self.raw.type == "int":
            nan = self.constant(np.nan, "float64")
            value = ops.where(self.absent(value), nan, ops.cast(value, "float64"))
        instead = self.constant(np.nan if fill is None else fill, "float64")
        return ops.where(ops.isfinite(value), value, instead)

    def name(self, what: str) -> str:
        return _layer_name(f"{self.raw.id}.{what}")
