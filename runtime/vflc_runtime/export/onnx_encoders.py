"""Encoders as nodes of an ONNX graph. ONNX has no operator that hashes text, or changes its case."""

from __future__ import annotations

from typing import Any

import numpy as np
from vflc_common.encoder import EncoderSettings
from vflc_common.encoders import record
from vflc_common.encoding import MISSING, NotExpressed

from vflc_runtime.export.raw import RawFeature

_INT32 = 6


def encoded(name: str) -> str:
    """What a raw column is called inside the model once it is encoded."""
    return f"{name}/encoded"


class Encoding:
    """The nodes that encode one raw column [batch] as the runtime does."""

    def __init__(self, raw: RawFeature, precision: str, mark: str | None = None) -> None:
        """`mark` is what says, bool [batch, 1], in which rows the column is there at all."""
        self.raw, self._precision, self._mark = raw, precision, mark
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def build(self) -> None:
        """Adds the nodes; raises NotExpressed where ONNX has no means."""
        value = self.raw.id if self.raw.encoded else self._encoded()
        if self._mark is not None:
            value = self._where_marked(value, self._mark)
        self._guarded(value)
        self.nodes[-1].output[0] = encoded(self.raw.id)

    def _encoded(self) -> str:
        value = self._number() if self.raw.computes else self._looked_up()
        if self.raw.shape != "number":
            return self("Cast", value, to=_INT32)
        target = 1 if self._precision == "float32" else 11
        return self("Unsqueeze", self("Cast", value, to=target), self.constant([-1], "int64"))

    def _where_marked(self, value: str, mark: str) -> str:
        """The value, and 0 in other rows."""
        if self.raw.shape not in ("number", "vector"):
            if not self.raw.many:
                mark = self("Squeeze", mark, self.constant([1], "int64"))
            return self("Where", mark, value, self.constant(0, np.int32))
        return self("Where", mark, value, self.constant(0, self._float))

    @property
    def _float(self) -> Any:
        return np.float32 if self._precision == "float32" else np.float64

    def _guarded(self, value: str) -> str:
        """The value; where it is no id of the column, or no number, a node fails that says so by its name.

        Gather reads nothing but the one zero here, and so has to fail where it is told to read past it:
        no standard operator is there to refuse a value, and most evaluators name the node that failed.
        """
        if self.raw.shape in ("number", "vector"):
            dtype = self._float
            wrong, said = self("IsNaN", self("Sub", value, value)), "no number"
        else:
            dtype = np.int32
            wrong = self("Greater", value, self.constant((self.raw.rows or 2**31) - 1, dtype))
            if not self.raw.many:
                wrong = self("Or", wrong, self("Less", value, self.constant(0, dtype)))
            said = "unknown or missing" if not self.raw.encoded else f"no id below {self.raw.rows}"
        zero = self("Gather", self.constant([0], dtype), self("Cast", wrong, to=7))
        self.nodes[-1].name = f"{self.raw.id} is {said} in a row"
        return self("Add", value, zero)

    def _looked_up(self) -> str:
        """Of a text, or of a whole number, which is `MISSING` where it is missing and no encoder knows."""
        value, kind, chain = self.raw.id, self.raw.taken, self.raw.encoders
        if self.raw.type != "string":
            fill, chain = self.raw.filled()
            if fill is not None:
                absent = self("Equal", value, self.constant(MISSING, "int64"))
                value = self("Where", absent, self.constant(int(fill), "int64"), value)
        for encoder in chain:
            after = record(encoder).after(kind)
            if after == kind:  # text of text: left to the caller, to whom empty text and none are two things
                raise _no_operator(encoder)
            value, kind = self._done(value, encoder), after
        return value

    def _number(self) -> str:
        """Numbers in float64, missing ones NaN, as the runtime computes them."""
        value = self.raw.id
        fill, chain = self.raw.filled()
        if self.raw.type == "int":
            absent = self("Equal", value, self.constant(MISSING, "int64"))
            value = self("Where", absent, self.constant(np.nan), self("Cast", value, to=11))
        infinite = self("Equal", self("Abs", value), self.constant(np.inf))
        absent = self("Or", self("IsNaN", value), infinite)
        value = self("Where", absent, self.constant(np.nan if fill is None else fill), value)
        for encoder in chain:
            value = self._done(value, encoder)
        return value

    def _done(self, value: str, encoder: EncoderSettings) -> str:
        add = record(encoder).onnx
        if add is None:
            raise _no_operator(encoder)
        return add(self, value, encoder)

    def constant(self, value: Any, dtype: Any = "float64") -> str:
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


def _no_operator(encoder: EncoderSettings) -> NotExpressed:
    return NotExpressed(f"ONNX has no operator for `{encoder['name']}`")
