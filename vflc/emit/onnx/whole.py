"""`whole.onnx` and `whole.json`: the model of all parties as the spec writes it, for merged exports.

Nothing in it is cut or fused: a kernel whose rows lie at several parties is one input, and so is every table,
named as the spec names it.
"""

from __future__ import annotations

from vflc_common.canonical import canonical
from vflc_common.words import WHOLE

from vflc.emit.compiled import compiled
from vflc.emit.onnx.subgraph import to_onnx
from vflc.ir.graph import PLACELESS
from vflc.ir.outside import OP
from vflc.ir.stages import ByMode
from vflc.ops.source import INPUTS


def whole_onnx(model: ByMode, precision: str) -> dict[str, bytes]:
    """The files of a model at one place, by name; none of one that runs files of other tools.

    None, too, where a party may lack rows: defaults stand for what crosses, which the spec does not write.
    """
    graph = model.inference
    outputs = list(dict.fromkeys(prediction.node for prediction in model.predictions))
    needed = graph.ancestors(outputs)
    nodes = [node for node in graph if node.id in needed and node.op not in PLACELESS]
    lacking = any(party.missing for party in model.parties)
    if any(node.op == OP for node in nodes) or not outputs or lacking:
        return {}
    inputs = [node.id for node in nodes if node.op in INPUTS]
    made = [node.id for node in nodes if node.op not in INPUTS]
    weights = [node for node in nodes if node.op == "weight"]
    about = {
        "labels": {prediction.node: prediction.label for prediction in model.predictions},
        "compile": compiled(model),
        "fixed": [node.id for node in weights if not node.attrs["trainable"]],
    }
    return {
        f"{WHOLE}.onnx": to_onnx(graph, WHOLE, made, inputs, outputs, precision),
        f"{WHOLE}.json": canonical(about).encode(),
    }
