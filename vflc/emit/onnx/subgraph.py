"""Subgraphs as ONNX: a walk over a stage that asks each op for its own lowering."""

from __future__ import annotations

from collections.abc import Sequence

from vflc.emit.onnx.writer import OnnxGraphWriter
from vflc.ir.graph import PLACELESS, Graph
from vflc.ops import OPS


def to_onnx(
    graph: Graph,
    name: str,
    nodes: Sequence[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    precision: str,
) -> bytes:
    """One subgraph as a serialized model, checked by onnx; equal input gives equal bytes.

    Raises:
        onnx.checker.ValidationError: a lowering is wrong, which is a defect of vflc.
    """
    writer = OnnxGraphWriter(double=precision == "float64")
    names = {value: value for value in inputs}
    for node_id in nodes:
        node = graph[node_id]
        sources = graph.inputs(node)
        for source in sources:
            if source.id not in names:
                assert source.op in PLACELESS, f"{node_id} reads {source.id}, which is not in the stage"
                names[source.id] = OPS[source.op].onnx(writer, source, [], [])
        arguments = [names[source.id] for source in sources]
        names[node_id] = OPS[node.op].onnx(writer, node, arguments, [source.type for source in sources])
    model = writer.finish(
        name,
        {value: graph[value].type for value in inputs},
        {value: (names[value], graph[value].type) for value in outputs},
    )
    return bytes(model.SerializeToString(deterministic=True))
