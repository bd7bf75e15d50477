"""Removes what nothing needs: values on no path to a loss or a prediction."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.stages import Lowered
from vflc.passes.properties import GRAPH, NEEDED

M = TypeVar("M", bound=Lowered)


class Prune:
    """The pass. Running statistics stay where their weight does."""

    name: ClassVar = "prune"
    requires: ClassVar = GRAPH
    ensures: ClassVar = (*GRAPH, NEEDED)

    def __call__(self, model: Lowered, collector: DiagnosticCollector) -> Lowered:
        return pruned(model)


def pruned(model: M) -> M:
    """The model without what nothing needs."""
    roots = [loss.node for loss in model.losses] + [p.node for p in model.predictions]
    roots += [name for p in model.predictions for name in p.measured]
    keep = model.graph.ancestors(roots)
    assigns = tuple((weight, value) for weight, value in model.assigns if weight in keep)
    keep |= model.graph.ancestors(value for _, value in assigns)
    fits = tuple(fit for fit in model.fits if fit.weight in keep)
    keep |= model.graph.ancestors(fit.counts for fit in fits)
    return replace(model, graph=model.graph.only(keep), assigns=assigns, fits=fits)
