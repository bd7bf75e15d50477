"""`whole.keras.json` and `whole.json`: the model of all parties as the spec writes it, for exports.

Nothing in it is cut: a kernel whose rows lie at several parties is one layer, named as the spec names it.
What the objective and the optimizer are to Keras stands beside it, so that an exported model can be trained.
"""

from __future__ import annotations

from vflc_common.canonical import canonical
from vflc_common.words import WHOLE

from vflc.emit.compiled import compiled
from vflc.emit.keras.models import ONE, to_keras
from vflc.ir.graph import PLACELESS
from vflc.ir.stages import Scheduled
from vflc.ops.source import INPUTS


def whole_files(model: Scheduled, precision: str) -> dict[str, bytes]:
    """The files of a model at one place whose tables are not fused, by name."""
    graph = model.inference
    nodes = [node.id for node in graph if node.phase == "forward" and node.op not in INPUTS | PLACELESS]
    outputs = [prediction.node for prediction in model.predictions]
    made = to_keras(graph, WHOLE, nodes, list(dict.fromkeys(outputs)), precision, drawn=True)
    about = {
        "file": made.file,
        "inputs": [value for value in made.inputs if value != ONE],
        "outputs": list(made.outputs),
        "held": [{"weight": h.weight, "layer": h.layer, "index": h.index} for h in made.held],
        "labels": {prediction.node: prediction.label for prediction in model.predictions},
        "compile": compiled(model),
    }
    return {made.file: made.content, f"{WHOLE}.json": canonical(about).encode()}
