"""A checked ONNX graph as plain data: ports, constants, and nodes in an order in which they can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from msgspec import Struct, field

from vflc.diagnostics import Diagnostic, Refused
from vflc.onnx_file.numbers import Numbers


def refuse(code: str, message: str, help: str) -> NoReturn:
    """Ends the reading of a file with one finding; a file has no text that it could stand at."""
    raise Refused([Diagnostic(code, message, None, help)])


class OnnxPort(Struct, frozen=True):
    """An input or output of the graph.

    Args:
        name: in the file.
        type: of its elements in numpy's words: `float32`, `int64`, `bool`, `string`, …
        shape: with None for an axis whose size the file leaves open; None where it says nothing.
    """

    name: str
    type: str
    shape: tuple[int | None, ...] | None


class OnnxNode(Struct, frozen=True, eq=False):
    """An operation.

    Args:
        op: the operator's name, as in `Gemm`.
        domain: whose operator it is; `""` is ONNX itself.
        name: of the node; by its first output where the file gives none.
        inputs: names of values, `""` for one that is left out.
        outputs: names of values, each made by this node alone.
        attrs: numbers, texts, `Numbers` (of tensors), and lists of numbers or texts.
        scope: the modules of the program that it came from, outermost first: `("deep", "deep.0")`.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    scope: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The node in a message."""
        return f"`{self.name[:80]}` ({self.domain + '.' if self.domain else ''}{self.op[:40]})"


class OnnxGraph(Struct, frozen=True, eq=False):
    """A graph whose names all lead somewhere.

    Args:
        name: the graph's.
        inputs: what is given, in order; constants are none of them.
        outputs: what comes out, in order.
        nodes: each after the nodes whose outputs it reads.
        constants: numbers by name, of exactly the bytes that the file has for them.
        opsets: the version of each domain.
        kinds: what torch says that a constant is, `PARAMETER` or `BUFFER`, of those of which it says it.
        producer: the program that wrote the file, as in `pytorch`.
        metadata: what its maker wrote beside it.
    """

    name: str
    inputs: Sequence[OnnxPort]
    outputs: Sequence[OnnxPort]
    nodes: Sequence[OnnxNode]
    constants: Mapping[str, Numbers]
    opsets: Mapping[str, int]
    kinds: Mapping[str, str] = field(default_factory=dict)
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return self.opsets[""]
