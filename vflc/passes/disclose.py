"""Who may learn what, against what is granted; and what is known to tell it.

In: a placed, differentiated, protected graph with its edges. Out: `learned`, `evidence`,
`findings` and `disclosures`. What no party grants or waives is a diagnostic, and an error among
them stops the compilation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.learn import Evidence
from vflc.ir.stages import Disclosed, Partitioned, Told
from vflc.passes.evidence import backward, forward
from vflc.passes.evidence.analysis import Analysis, analyse
from vflc.passes.evidence.describe import describe
from vflc.passes.evidence.found import settle
from vflc.passes.learn.bounds import Columns, declared, learned, made_of
from vflc.passes.learn.granted import check_denials, check_grants
from vflc.passes.learn.label_features import check_features
from vflc.passes.learn.limits import check_releases
from vflc.passes.learn.received import Received, received
from vflc.passes.learn.spending import spends
from vflc.passes.properties import CUT, GRAPH

RULES = (forward.raw_findings, backward.end_findings)
"""What a party must agree to in writing besides what is learned."""
KNOWN = (
    forward.labels_told,
    backward.labels_in_gradients,
    backward.single_rows,
    backward.table_rows,
    forward.single_edges,
    forward.solvable_edges,
)
"""Every kind of evidence, the gravest first."""


class Disclose:
    """The pass."""

    name: ClassVar = "disclose"
    requires: ClassVar = (*GRAPH, CUT)
    ensures: ClassVar = (*GRAPH, CUT)

    def __call__(self, model: Partitioned, collector: DiagnosticCollector) -> Partitioned:
        analysis = analyse(model)
        reaching = received(model)
        check_features(model, model.inference, collector)
        check_releases(analysis, collector)
        check_denials(model, reaching, collector)
        check_grants(model, reaching, collector)
        settled = settle(model, [found for rule in RULES for found in rule(analysis)], collector)
        disclosed = Disclosed(findings=settled, tell=lambda: _told(analysis, reaching))
        return replace(model, disclosed=disclosed)


def _told(analysis: Analysis, reaching: Mapping[str, Received]) -> Told:
    model, columns = analysis.model, declared(analysis.model)
    return Told(
        disclosures=describe(analysis),
        learned=learned(model, reaching),
        spends=spends(model, reaching),
        evidence=tuple(_with_columns(known, columns) for rule in KNOWN for known in rule(analysis)),
    )


def _with_columns(known: Evidence, columns: Columns) -> Evidence:
    names = (f"{s.party}.{name}" for s in known.sources for name in made_of(s, columns))
    return replace(known, columns=tuple(dict.fromkeys(names)))
