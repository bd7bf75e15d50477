"""Encoders as nodes of an ONNX graph. ONNX has no operator that hashes text, or changes its case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vflc_runtime.export.raw import MISSING, UNKNOWN, NotExpressed, Raw

_INT32 = 6


def encoded(name: str) -> str:
    """What a raw column is called inside the model once it is encoded."""
    return f"{name}/encoded"


class Encoding:
    """The nodes that encode one raw column [batch] as the runtime does."""

    def __init__(self, raw: Raw, precision: str) -> None:
        self.raw, self._precision = raw, precision
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def build(self) -> None:
        """Adds the nodes; raises NotExpressed where ONNX has no means."""
        value = self.raw.id if self.raw.encoded else self._encoded()
        self._guarded(value)
        self.nodes[-1].output[0] = encoded(self.raw.id)

    def _encoded(self) -> str:
        if self.raw.type == "string":
            value = self._text()
        else:
            fill, chain = self.raw.filled()
            if self.raw.type == "int" and chain and chain[0]["name"] in ("vocab", "index", "hash"):
                value = self._whole(fill, chain[0])
            else:
                value = self._number(fill, chain)
        if self.raw.shape != "number":
            return self("Cast", value, to=_INT32)
        target = 1 if self._precision == "float32" else 11
        return self("Unsqueeze", self("Cast", value, to=target), self._constant([-1], np.int64))

    def _guarded(self, value: str) -> str:
        """The value; where it is no id of the column, or no number, a node fails that says so by its name.

        Gather reads nothing but the one zero here, and so has to fail where it is told to read past it:
        no standard operator is there to refuse a value, and most evaluators name the node that failed.
        """
        if self.raw.shape == "number":
            dtype: Any = np.float32 if self._precision == "float32" else np.float64
            wrong, said = self("IsNaN", self("Sub", value, value)), "no number"
        else:
            dtype = np.int32
            wrong = self("Greater", value, self._constant((self.raw.rows or 2**31) - 1, dtype))
            if not self.raw.many:
                wrong = self("Or", wrong, self("Less", value, self._constant(0, dtype)))
            said = "unknown or missing" if not self.raw.encoded else f"no id below {self.raw.rows}"
        zero = self("Gather", self._constant([0], dtype), self("Cast", wrong, to=7))
        self.nodes[-1].name = f"{self.raw.id} is {said} in a row"
        return self("Add", value, zero)

    def _text(self) -> str:
        value, chain = self.raw.id, self.raw.encoders
        if chain[-1]["name"] == "sequence":
            raise NotExpressed("ONNX has no operator for `sequence`")
        if chain[0]["name"] == "split":
            value, chain = self("StringSplit", value, delimiter=chain[0]["separator"], outputs=2), chain[1:]
        encoder = chain[0]
        if encoder["name"] != "vocab":
            raise NotExpressed(f"ONNX has no operator for `{encoder['name']}` of text")
        keys = [str(key) for key in encoder["values"]]
        ids = {key: self.raw.id_of(encoder, key) for key in keys}
        if self.raw.many:
            ids[""] = -1
        unknown = self.raw.id_of(encoder, _unlisted(ids))
        return self._looked_up(value, ids, unknown, "string")

    def _whole(self, fill: Any, encoder: Mapping[str, Any]) -> str:
        """A whole number as an id. Missing ones are `MISSING`, which no encoder knows."""
        if encoder["name"] == "hash":
            raise NotExpressed("ONNX has no operator for `hash`")
        value = self.raw.id
        if fill is not None:
            absent = self("Equal", value, self._constant(MISSING, np.int64))
            value = self("Where", absent, self._constant(int(fill), np.int64), value)
        unknown = self.raw.id_of(encoder, None)
        if encoder["name"] == "index":
            low = self("GreaterOrEqual", value, self._constant(0, np.int64))
            inside = self("And", low, self("Less", value, self._constant(encoder["n"], np.int64)))
            shifted = self("Add", value, self._constant(self.raw.id_of(encoder, 0), np.int64))
            return self("Where", inside, shifted, self._constant(unknown, np.int64))
        ids = {key: self.raw.id_of(encoder, key) for key in self.raw.whole_keys(encoder)}
        return self._looked_up(value, ids, unknown, "int")

    def _looked_up(self, value: str, ids: Mapping[Any, int], unknown: int, kind: str) -> str:
        keys = {"string": "keys_strings", "int": "keys_int64s"}[kind]
        attributes: dict[str, Any] = {
            keys: list(ids),
            "values_int64s": list(ids.values()),
            "default_int64": unknown,
        }
        return self("LabelEncoder", value, domain="ai.onnx.ml", **attributes)

    def _number(self, fill: Any, chain: tuple[Mapping[str, Any], ...]) -> str:
        """Numbers in float64, missing ones NaN, as the runtime computes them."""
        value = self.raw.id
        if self.raw.type == "int":
            absent = self("Equal", value, self._constant(MISSING, np.int64))
            value = self("Where", absent, self._constant(np.nan), self("Cast", value, to=11))
        infinite = self("Equal", self("Abs", value), self._constant(np.inf))
        absent = self("Or", self("IsNaN", value), infinite)
        value = self("Where", absent, self._constant(np.nan if fill is None else fill), value)
        for encoder in chain:
            if encoder["name"] not in NUMBERS:
                raise NotExpressed(f"`{encoder['name']}` of numbers has no operator in ONNX")
            value = NUMBERS[encoder["name"]](self, value, encoder)
        return value

    def _constant(self, value: Any, dtype: Any = np.float64) -> str:
        from onnx import numpy_helper

        name = f"{self.raw.id}/constant.{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Adds a node; returns the name of its first output."""
        from onnx import helper

        name = f"{self.raw.id}/{len(self.nodes)}.{op}"
        names = [name, *(f"{name}.{index}" for index in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, names, name, domain=domain, **attributes))
        return names[0]

    # --- encoders of numbers --------------------------------------------------------------------

    def standardize(self, value: str, encoder: Mapping[str, Any]) -> str:
        less = self("Sub", value, self._constant(encoder["mean"]))
        return self("Div", less, self._constant(encoder["std"]))

    def minmax(self, value: str, encoder: Mapping[str, Any]) -> str:
        low, high = encoder["low"], encoder["high"]
        return self("Div", self("Sub", value, self._constant(low)), self._constant(high - low))

    def missing(self, value: str, encoder: Mapping[str, Any]) -> str:
        return self("Where", self("IsNaN", value), self._constant(encoder["value"]), value)

    def log1p(self, value: str, encoder: Mapping[str, Any]) -> str:
        grown = self("Add", self("Abs", value), self._constant(1.0))
        return self("Mul", self("Sign", value), self("Log", grown))

    def factor(self, value: str, encoder: Mapping[str, Any]) -> str:
        return self("Mul", value, self._constant(encoder["factor"]))

    def clip(self, value: str, encoder: Mapping[str, Any]) -> str:
        return self("Clip", value, self._constant(encoder["low"]), self._constant(encoder["high"]))

    def bucketize(self, value: str, encoder: Mapping[str, Any]) -> str:
        """How many edges are at most the value; of a missing one an id that no table has."""
        column = self("Unsqueeze", value, self._constant([-1], np.int64))
        passed = self("GreaterOrEqual", column, self._constant(encoder["edges"]))
        counted = self("Cast", passed, to=7)
        found = self("ReduceSum", counted, self._constant([-1], np.int64), keepdims=0)
        return self("Where", self("IsNaN", value), self._constant(UNKNOWN, np.int64), found)


NUMBERS: dict[str, Callable[[Encoding, str, Mapping[str, Any]], str]] = {
    "missing": Encoding.missing,
    "standardize": Encoding.standardize,
    "minmax": Encoding.minmax,
    "log1p": Encoding.log1p,
    "scale": Encoding.factor,
    "clip": Encoding.clip,
    "bucketize": Encoding.bucketize,
}


def _unlisted(known: Mapping[str, int]) -> str:
    """A text that no key is."""
    return max(known, key=len) + "?"
