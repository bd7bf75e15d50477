"""A model that is written as if all tables lay in one gets its split: what can be reduced is, at its owner.

In: a graph with demanded places only. Out: the same values, gradients and steps of optimizers. Values of
several parties that nobody placed wait for their readers in pieces or as terms of a sum (`forms`), and the
rewrites, one a file, work on these. Values with a place are left as they are: there, the user has split.

Whether the readers of a value put together from several parties work on its pieces is decided value by
value, for fewer bytes a row. A graph that is no cheaper than what was written is not taken.
"""

from __future__ import annotations

from typing import ClassVar

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.stages import Lowered
from vflc.passes.properties import GRAPH, NEEDED
from vflc.passes.push_down.join_site import is_join_site


class PushDown:
    """The pass."""

    name: ClassVar = "push-down"
    requires: ClassVar = (*GRAPH, NEEDED)
    ensures: ClassVar = (*GRAPH, NEEDED)

    def __call__(self, model: Lowered, collector: DiagnosticCollector) -> Lowered:
        if not model.train.push_down or not any(map(is_join_site, model.graph)):
            return model
        from vflc.passes.push_down.choose import choose  # few specs need it

        return choose(model).model
