"""Removes what nothing needs: values on no path to a loss or a prediction."""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from vflc.diagnostics import Collector
from vflc.ir.stages import Lowered
from vflc.passes.properties import GRAPH, NEEDED


class Prune:
    """The pass. Running statistics stay where their weight does."""

    name: ClassVar = "prune"
    requires: ClassVar = GRAPH
    ensures: ClassVar = (*GRAPH, NEEDED)

    def __call__(self, model: Lowered, collector: Collector) -> Lowered:
        roots = [loss.node for loss in model.losses] + [p.node for p in model.predictions]
        roots += [name for p in model.predictions for name in p.measured]
        keep = model.graph.ancestors(roots)
        assigns = tuple((weight, value) for weight, value in model.assigns if weight in keep)
        keep |= model.graph.ancestors(value for _, value in assigns)
        return replace(model, graph=model.graph.only(keep), assigns=assigns)
