"""The passes that put in what `protect` asks for, each where what it protects is made.

What carries protections out is imported where a spec has some.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.stages import Differentiated, Optimized, Placed
from vflc.passes.properties import DIFFERENTIATED, GRAPH, PLACED, UPDATED
from vflc.passes.protect.sums import offered


class ProtectValues:
    """The pass for values on their way, and labels; it finds the sums that could be masked, too."""

    name: ClassVar = "protect"
    requires: ClassVar = (*GRAPH, PLACED)
    ensures: ClassVar = (*GRAPH, PLACED)

    def __call__(self, model: Placed, collector: DiagnosticCollector) -> Placed:
        if model.protections:
            from vflc.passes.protect.values import protected

            model = protected(model, collector)
        return replace(model, offers=offered(model.graph, model.guards, model.predictions))


class ProtectWeights:
    """The pass for gradients of weights."""

    name: ClassVar = "protect-weights"
    requires: ClassVar = (*GRAPH, PLACED, DIFFERENTIATED)
    ensures: ClassVar = (*GRAPH, PLACED, DIFFERENTIATED)

    def __call__(self, model: Differentiated, collector: DiagnosticCollector) -> Differentiated:
        if not model.protections:
            return model
        from vflc.passes.protect.weights import protected

        return protected(model, collector)


class ProtectGradients:
    """The pass for gradients on their way back."""

    name: ClassVar = "protect-gradients"
    requires: ClassVar = (*GRAPH, PLACED, UPDATED)
    ensures: ClassVar = (*GRAPH, PLACED, UPDATED)

    def __call__(self, model: Optimized, collector: DiagnosticCollector) -> Optimized:
        if not model.protections:
            return model
        from vflc.passes.protect.gradients import protected

        return protected(model, collector)
