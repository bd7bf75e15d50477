"""A model that another tool made, as a piece of a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from msgspec import Struct
from vflc_common.arrays import Array

from vflc.diagnostics.span import Span
from vflc.ir.graph import Node

OP = "onnx"
"""Of the values that such models give."""
Sizes = tuple[int, ...]
"""Of what one row has in an input or output."""


class FileValues(Struct, frozen=True, eq=False):
    """The first value of a weight: the numbers of a file, in the weight's shape.

    `name` is the weight's below the use of the block; `array` gives the numbers when they are written.
    """

    path: str
    sha256: str
    name: str
    array: Callable[[], Array]

    def __repr__(self) -> str:
        return f"{self.name} of {self.path} ({self.sha256})"


def is_fixed(node: Node) -> bool:
    """Whether a weight holds what a file says, in every step: it is no secret of training."""
    return node.op == "weight" and "values" in node.attrs and not node.attrs["trainable"]


def graph_name(node_id: str) -> str:
    """What a plan calls the file that gives a value, among the graphs of its place."""
    return f"model.{node_id}"


class OutsideModel(Struct, frozen=True, eq=False):
    """An ONNX file that runs as it is; two are the same where their paths and files are.

    Args:
        path: as the spec names it.
        sha256: of the file.
        inputs, outputs: the sizes that one row has in each, in the order of the file.
        content: None where the file is not here, and another party runs it.
        span: where the spec names it.
    """

    path: str
    sha256: str
    inputs: tuple[Sizes, ...]
    outputs: tuple[Sizes, ...]
    content: bytes | None
    span: Span

    @property
    def file(self) -> str:
        """Its name in a bundle, which no other file of the bundle has."""
        stem = "".join(c for c in PurePath(self.path).stem if c.isascii() and (c.isalnum() or c == "_"))
        return f"{stem[:40]}-{self.sha256[:12]}.onnx"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutsideModel) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"{self.path} ({self.sha256})"

    @property
    def _key(self) -> tuple[object, ...]:
        return self.path, self.sha256, self.inputs, self.outputs
