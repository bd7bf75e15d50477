"""An ONNX file as a block of the language: its operators written out, its weights by their names there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from vflc.onnx_file import Numbers, OnnxGraph
from vflc.ops import FUNCTIONS
from vflc.translation.expressions import GraphWriter
from vflc.translation.graph import AxisSizes, Value, ordered
from vflc.translation.names import RESERVED, Names
from vflc.translation.onnx_model import OnnxModelReader
from vflc.translation.text import ATOM, Text, flat

LEARNING = frozenset({"batch_norm", "dropout"})
"""What computes otherwise in training than the file does."""


class WrittenBlock(Struct, frozen=True):
    """A block that computes what a file does.

    Args:
        text: `block NAME(x1, …) { … }`.
        weights: the numbers of each weight by its name below the use of the block.
        learning: whether it computes otherwise in training than the file does.
    """

    text: str
    weights: Mapping[str, Numbers]
    learning: bool


class BlockWriter(GraphWriter):
    """Writes values that are made of the parameters of a block."""

    def _given(self, value: Value) -> Text:
        return Text(value.layer, ATOM, flat(*(value.shape or (1,))))


def onnx_block(
    graph: OnnxGraph, name: str, inputs: Sequence[AxisSizes], outputs: Sequence[AxisSizes]
) -> WrittenBlock:
    """The block of a checked graph, whose rows have these sizes.

    Raises:
        Refused: VFL0703, VFL0707 or VFL0709; what has no counterpart is named.
    """
    parameters = [f"x{number}" for number in range(1, len(inputs) + 1)]
    given = {
        port.name: Value("given", (), sizes, {}, parameter)
        for port, sizes, parameter in zip(graph.inputs, inputs, parameters, strict=True)
    }
    model = OnnxModelReader(graph, given)
    values = [value for _, value in model.outputs]
    learning = any(value.op in LEARNING for value in ordered(values))
    writer = BlockWriter([], {}, {}, Names([*parameters, *RESERVED, *FUNCTIONS]))
    names = writer.write(values, ["mse"] * len(values))
    results = [_shaped(*each) for each in zip(names, values, outputs, strict=True)]
    result = results[0] if len(results) == 1 else f"[{', '.join(results)}]"
    body = "".join(f"  {line}\n" for line in writer.lines)
    text = f"block {name}({', '.join(parameters)}) {{\n{body}  return {result}\n}}\n"
    return WrittenBlock(text, {name: model.held[key] for name, key in writer.weights.items()}, learning)


def _shaped(name: str, value: Value, sizes: AxisSizes) -> str:
    """The name of an output, with the axes that the file gives it."""
    wanted = sizes or (1,)
    return name if (value.shape or (1,)) == wanted else f"reshape({name}, {', '.join(map(str, wanted))})"
