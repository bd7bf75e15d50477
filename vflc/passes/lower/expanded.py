"""An ONNX file whose operators are all known, as an ordinary block with the file's weights in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace
from vflc_common.onnx_file import FileModel
from vflc_common.onnx_usable import RowSignature
from vflc_common.onnx_wire import OnnxFileError, printable
from vflc_common.words import FROM_FILE

from vflc.diagnostics import DiagnosticCollector, Refused, SourceText
from vflc.ir.build import Initializer
from vflc.ir.outside import FileValues
from vflc.passes.lower.values import BlockValue, FileWeights, Scope
from vflc.syntax import tree
from vflc.syntax.parser import parse

if TYPE_CHECKING:
    from vflc.passes.lower.evaluate import Evaluator
    from vflc.translation.onnx_block import WrittenBlock

FLOATS = ("float32", "float64")
"""Element types of inputs and outputs that a spec computes with as the file does."""


def take_values(ev: Evaluator, weights: FileWeights, path: tuple[str, ...], first: int) -> None:
    """Gives the weights that a use of a block made, of the nodes from `first` on, the file's numbers."""
    graph = ev.build.graph
    for node in list(graph)[first:]:
        if node.op != "weight":
            continue
        name = ev.aliases.get(node.id, node.id).removeprefix(".".join(path) + ".")
        sizes = [size or 0 for size in node.type.sizes]
        numbers = weights.numbers[name].reshaped(sizes)
        values = FileValues(weights.path, weights.sha256, name, numbers.array)
        attrs = {"init": Initializer(FROM_FILE), "trainable": weights.trainable, "values": values}
        graph.exchange(replace(node, attrs={**node.attrs, **attrs}))


def expanded(
    name: str, model: FileModel, signature: RowSignature, path: str, sha256: str, trainable: bool
) -> tuple[BlockValue, FileWeights] | str:
    """The block with its weights, or why there is none."""
    ports = [*signature.inputs, *signature.outputs]
    odd = next((port for port in ports if port.element not in FLOATS), None)
    if odd is not None:
        return printable(f"`{odd.name}` is of {odd.element}")
    try:
        written = _written(name, model, signature)
        block = _parsed(path, written.text)
    except OnnxFileError as wrong:
        return wrong.message
    except Refused as refused:
        return printable(refused.diagnostics[0].message)
    bad = next((name for name, numbers in written.weights.items() if not numbers.finite()), None)
    if bad is not None:
        return f"its weight `{bad}` has numbers that are not finite"
    if written.learning and not trainable:
        return "it normalises by the batch, or drops values, in training"
    return BlockValue(block, Scope()), FileWeights(path, sha256, written.weights, trainable)


def _written(name: str, model: FileModel, signature: RowSignature) -> WrittenBlock:
    from vflc.onnx_file import graph_of
    from vflc.translation.onnx_block import onnx_block

    inputs, outputs = ([port.sizes for port in ports] for ports in (signature.inputs, signature.outputs))
    return onnx_block(graph_of(model), name, inputs, outputs)


def _parsed(path: str, text: str) -> tree.Block:
    collector = DiagnosticCollector()
    items = parse(SourceText(path, text, True), collector).items
    collector.refuse_errors()
    (block,) = items
    assert isinstance(block, tree.Block)
    return block
