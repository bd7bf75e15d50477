"""Who may learn what, and what each cut edge gives away, against releases and waivers.

In: a placed, differentiated, protected graph with its edges. Out: `learned`, `findings` and
`disclosures`; what no party granted or waived is a diagnostic, and an error among them stops the
compilation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vflc.diagnostics import Collector
from vflc.ir.model import Model
from vflc.passes.disclosure import backward, forward
from vflc.passes.disclosure.analysis import analyse
from vflc.passes.disclosure.describe import describe
from vflc.passes.disclosure.found import settle
from vflc.passes.disclosure.limits import check_releases
from vflc.passes.learn.bounds import learned
from vflc.passes.learn.granted import check_denials, check_grants
from vflc.passes.learn.received import received

RULES = (
    forward.raw_findings,
    forward.label_findings,
    backward.leak_findings,
    backward.small_batch_findings,
    backward.compression_findings,
    backward.end_findings,
    backward.table_findings,
    forward.activation_findings,
    forward.solvable_findings,
)
"""Every rule, the gravest first."""


@dataclass(frozen=True, slots=True)
class Disclose:
    """The pass."""

    name: str = "disclose"

    def __call__(self, model: Model, collector: Collector) -> Model:
        analysis = analyse(model)
        reaching = received(model)
        check_releases(analysis, collector)
        check_denials(model, reaching, collector)
        check_grants(model, reaching, collector)
        found = [finding for rule in RULES for finding in rule(analysis)]
        settled = settle(model, found, collector)
        return replace(
            model, findings=settled, disclosures=describe(analysis), learned=learned(model, reaching)
        )
