"""A raw column as Keras encodes it: layers and operations that give what the runtime's encoders give."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from vflc_common.encoder import TEXTS
from vflc_common.encoders import record
from vflc_common.encoding import MISSING, NotExpressed

from vflc_runtime.export.raw import RawFeature


def layer_name(name: str) -> str:
    """Keras takes no slash in a name, and TensorFlow only some characters."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else f"-{ord(c):x}" for c in name)
    return kept if kept[0].isalnum() else f"v{kept}"


def check_keras(raw: RawFeature) -> None:
    """NotExpressed where Keras cannot do `raw.encoders`."""
    kind, chain = raw.taken, raw.encoders if raw.type == "string" else raw.filled()[1]
    for encoder in chain:
        after = record(encoder).after(kind)
        if record(encoder).keras is None or (after in TEXTS and kind in TEXTS):
            raise NotExpressed(f"Keras has no layer for `{encoder['name']}`")
        kind = after


def name_operations(value: Any, column: str) -> None:
    """Names the operations behind a value after its column, instead of by how many Keras made before."""
    stack, seen, count = [value], set[int](), Counter[str]()
    while stack:
        operation, call, _ = stack.pop()._keras_history
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        kind = type(operation).__name__.lower()
        if not operation.name.startswith(layer_name(column)):
            count[kind] += 1
            operation.name = layer_name(f"{column}.{kind}") + (f"_{count[kind]}" if count[kind] > 1 else "")
        stack.extend(operation._inbound_nodes[call].input_tensors)


class KerasEncoding:
    """The layers that encode one raw column as the runtime does.

    Args:
        raw: the column, and what the model does to it.
        precision: of numbers that come out.
        keras: the module, or what notes down what is asked of its `ops` and `layers`.
    """

    def __init__(self, raw: RawFeature, precision: str, keras: Any) -> None:
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
        return layer_name(f"{self.raw.id}.{what}")
