"""Exports to Keras: encoders that Keras has become layers before the place's own models.

`Hashing`, `StringLookup`, `IntegerLookup`, `Discretization` and `Normalization` give the ids and
numbers of the runtime's encoders. Keras has no layer that splits text: the model takes the pieces.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vflc_runtime.engines.keras_setup import tensorflow
from vflc_runtime.errors import Failure
from vflc_runtime.export.description import signature
from vflc_runtime.export.raw import MISSING, UNKNOWN, NotExpressed, Raw
from vflc_runtime.run.session import Session

if TYPE_CHECKING:
    from vflc_runtime.export.model import FedFile, Model, Signature

Array = NDArray[Any]
ALONE = "one"
"""The input of a model that reads nothing: a single 1."""
SPREAD = 1e3
"""The largest mean, in deviations, with which Keras's `Normalization` in float32 is exact enough."""


class KerasFormat:
    """See `Format`."""

    suffix = ".keras"

    def __init__(self, session: Session) -> None:
        self._session = session
        self._precision = session.bundle.manifest.precision

    def check(self, raw: Raw) -> None:
        _, chain = (None, raw.encoders) if raw.type == "string" else raw.filled()
        looked_up = raw.type == "string" or (chain and chain[0]["name"] in _IDS)
        for place, encoder in enumerate(chain):
            if encoder["name"] not in (_IDS if looked_up and not place else () if looked_up else _NUMBERS):
                raise NotExpressed(f"Keras has no layer for `{encoder['name']}`")
            if encoder["name"] == "vocab" and raw.type == "int":
                raw.whole_keys(encoder)

    def signatures(self, model: Model) -> dict[str, Signature]:
        found: dict[str, Signature] = {}
        for part in model.parts:
            core = self._core(part.place, part.graph)
            for names, tensors in ((part.inputs or (ALONE,), core.inputs), (part.outputs, core.outputs)):
                for name, tensor in zip(names, tensors, strict=True):
                    shape = ("batch", *(size or "most" for size in tensor.shape[1:]))
                    found[name] = (tensor.dtype, shape)
        return found

    def write(self, model: Model, path: Path, description: dict[str, Any]) -> None:
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
        """In a process of its own that cannot import vflc."""
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
            "this is a defect in vflc: please report it",
        )


def _read(archive: str) -> dict[str, Array]:
    with np.load(archive) as arrays:
        return {name.partition(":")[2]: arrays[name] for name in arrays.files}


def _layer_name(name: str) -> str:
    """Keras takes no slash in a name, and TensorFlow only some characters."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else f"-{ord(c):x}" for c in name)
    return kept if kept[0].isalnum() else f"v{kept}"


def _input(raw: Raw, precision: str) -> Any:
    type, shape = signature(raw, precision)
    batch_shape = tuple(None for _ in shape)
    return tensorflow().keras.Input(batch_shape=batch_shape, dtype=type, name=_layer_name(raw.id))


class _Encoding:
    """The layers that encode one raw column as the runtime does."""

    def __init__(self, raw: Raw, precision: str) -> None:
        keras = tensorflow().keras
        self.raw, self.precision, self.ops, self.layers = raw, precision, keras.ops, keras.layers

    def build(self, value: Any) -> Any:
        """From the raw column to ids in int32, or numbers [batch, 1]."""
        fill, chain = (None, self.raw.encoders) if self.raw.type == "string" else self.raw.filled()
        if chain and chain[0]["name"] in _IDS:
            value = _IDS[chain[0]["name"]](self, value, fill, chain[0])
        else:
            value = self._numbers(value, fill, chain)
        if self.raw.shape == "number":
            return self.ops.expand_dims(self.ops.cast(value, self.precision), -1)
        return self.ops.cast(value, "int32")

    def constant(self, value: Any, dtype: str) -> Any:
        return self.ops.convert_to_tensor(np.asarray(value), dtype=dtype)

    # --- ids ------------------------------------------------------------------------------------

    def hash(self, value: Any, fill: Any, encoder: Mapping[str, Any]) -> Any:
        """The empty text is hashed like any other, but among pieces, where it is none."""
        salt = encoder.get("salt")
        hashed = self.layers.Hashing(encoder["buckets"], salt=salt, name=self.name("hashing"))(value)
        if self.raw.type == "string" and not self.raw.many:
            return hashed
        instead = -1 if self.raw.many else self.raw.id_of(encoder, fill)
        return self.ops.where(self._absent(value), self.constant(instead, "int64"), hashed)

    def _absent(self, value: Any) -> Any:
        if self.raw.type == "int":
            return self.ops.equal(value, self.constant(MISSING, "int64"))
        found = self.layers.StringLookup(
            vocabulary=[""], num_oov_indices=1, mask_token=None, name=self.name("missing")
        )(value)
        return self.ops.equal(found, 1)

    def vocab(self, value: Any, fill: Any, encoder: Mapping[str, Any]) -> Any:
        """A lookup whose positions (0 is unknown) are then read as the ids that they stand for."""
        whole = self.raw.type == "int"
        keys: list[Any] = self.raw.whole_keys(encoder) if whole else [str(key) for key in encoder["values"]]
        ids = [self.raw.id_of(encoder, key) for key in keys]
        if whole or (self.raw.many and "" not in keys):
            keys = [*keys, MISSING if whole else ""]
            ids = [*ids, self.raw.id_of(encoder, fill) if whole else -1]
        elif self.raw.many:
            ids[keys.index("")] = -1
        unknown = self.raw.id_of(encoder, _unlisted(keys))
        return self.ops.take(self.constant([unknown, *ids], "int32"), self._lookup(keys)(value), axis=0)

    def _lookup(self, keys: list[Any]) -> Any:
        if self.raw.type == "string":
            return self.layers.StringLookup(
                vocabulary=keys, num_oov_indices=1, mask_token=None, name=self.name("lookup")
            )
        return self.layers.IntegerLookup(
            vocabulary=keys,
            num_oov_indices=1,
            mask_token=None,
            oov_token=MISSING + 1,
            name=self.name("lookup"),
        )

    def index(self, value: Any, fill: Any, encoder: Mapping[str, Any]) -> Any:
        ops, zero = self.ops, self.constant(0, "int64")
        if fill is not None:
            value = ops.where(self._absent(value), self.constant(int(fill), "int64"), value)
        inside = ops.logical_and(
            ops.greater_equal(value, zero), ops.less(value, self.constant(encoder["n"], "int64"))
        )
        shifted = ops.add(value, self.constant(self.raw.id_of(encoder, 0), "int64"))
        return ops.where(inside, shifted, self.constant(self.raw.id_of(encoder, None), "int64"))

    # --- numbers ----------------------------------------------------------------------------------

    def _numbers(self, value: Any, fill: Any, chain: tuple[Mapping[str, Any], ...]) -> Any:
        """In float64, missing ones NaN."""
        ops = self.ops
        if self.raw.type == "int":
            nan = self.constant(np.nan, "float64")
            value = ops.where(self._absent(value), nan, ops.cast(value, "float64"))
        instead = self.constant(np.nan if fill is None else fill, "float64")
        value = ops.where(ops.isfinite(value), value, instead)
        for encoder in chain:
            value = _NUMBERS[encoder["name"]](self, value, encoder)
        return value

    def standardize(self, value: Any, encoder: Mapping[str, Any]) -> Any:
        mean, std = encoder["mean"], encoder["std"]
        if self.precision == "float32" and abs(mean) < SPREAD * std and std > 1e-6:
            return self.layers.Normalization(
                axis=None, mean=mean, variance=std * std, name=self.name("normalization"), dtype="float32"
            )(value)
        return self._scaled(value, mean, std)

    def minmax(self, value: Any, encoder: Mapping[str, Any]) -> Any:
        low, high = encoder["low"], encoder["high"]
        return self._scaled(value, low, high - low)

    def _scaled(self, value: Any, less: float, over: float) -> Any:
        first, second = (self.constant(x, "float64") for x in (less, over))
        return self.ops.divide(self.ops.subtract(self.ops.cast(value, "float64"), first), second)

    def missing(self, value: Any, encoder: Mapping[str, Any]) -> Any:
        instead = self.constant(encoder["value"], str(value.dtype))
        return self.ops.where(self.ops.isnan(value), instead, value)

    def log1p(self, value: Any, encoder: Mapping[str, Any]) -> Any:
        return self.ops.multiply(self.ops.sign(value), self.ops.log1p(self.ops.absolute(value)))

    def scale(self, value: Any, encoder: Mapping[str, Any]) -> Any:
        return self.ops.multiply(value, self.constant(encoder["factor"], str(value.dtype)))

    def clip(self, value: Any, encoder: Mapping[str, Any]) -> Any:
        return self.ops.clip(value, float(encoder["low"]), float(encoder["high"]))

    def bucketize(self, value: Any, encoder: Mapping[str, Any]) -> Any:
        """Keras's layer rounds to float32, which moves no whole number past such an edge, but fractions."""
        edges, ops = [float(edge) for edge in encoder["edges"]], self.ops
        if self.raw.type == "int" and all(edge.is_integer() and abs(edge) < 2**24 for edge in edges):
            name = self.name("discretization")
            found = self.layers.Discretization(bin_boundaries=edges, name=name, dtype="float64")(value)
        else:
            passed = ops.greater_equal(ops.expand_dims(value, -1), self.constant(edges, "float64"))
            found = ops.sum(ops.cast(passed, "int32"), axis=-1)
        return ops.where(ops.isnan(value), self.constant(UNKNOWN, "int32"), ops.cast(found, "int32"))

    def name(self, what: str) -> str:
        return _layer_name(f"{self.raw.id}.{what}")


_IDS: dict[str, Callable[[_Encoding, Any, Any, Mapping[str, Any]], Any]] = {
    "hash": _Encoding.hash,
    "vocab": _Encoding.vocab,
    "index": _Encoding.index,
}
_NUMBERS: dict[str, Callable[[_Encoding, Any, Mapping[str, Any]], Any]] = {
    "missing": _Encoding.missing,
    "standardize": _Encoding.standardize,
    "minmax": _Encoding.minmax,
    "log1p": _Encoding.log1p,
    "scale": _Encoding.scale,
    "clip": _Encoding.clip,
    "bucketize": _Encoding.bucketize,
}


def _unlisted(keys: list[Any]) -> Any:
    """A value that is none of the keys."""
    if isinstance(keys[0], str):
        return max(keys, key=len) + "?"
    return next(number for number in range(len(keys) + 1) if number not in keys)
