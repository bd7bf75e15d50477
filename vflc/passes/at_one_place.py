"""Everything at one place: the model to compare with, as if all tables lay in one."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.stages import Lowered, Placed
from vflc.passes.place import Placement
from vflc.passes.properties import GRAPH, NEEDED, PLACED
from vflc.passes.push_down.push_down import PushDown
from vflc.passes.stand_in import StandIn


class AtOnePlace(Struct, frozen=True):
    """The pass. Where a party may lack rows, it is split first: defaults stand for what crosses."""

    push_down: bool
    name: ClassVar = "at-one-place"
    requires: ClassVar = (*GRAPH, NEEDED)
    ensures: ClassVar = (*GRAPH, PLACED)

    def __call__(self, model: Lowered, collector: DiagnosticCollector) -> Placed:
        if any(party.missing for party in model.parties):
            model = PushDown()(model, collector) if self.push_down else model
            model = StandIn(masked=True)(Placement(unsplit=False)(model, collector), collector)
        return Placement(unsplit=True)(model, collector)
