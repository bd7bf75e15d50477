"""A finding on its way to the user: what it is about, and which waiver covers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from vflc.diagnostics import DiagnosticCollector, Span
from vflc.ir.model import Edge
from vflc.ir.release import Acceptance, Finding
from vflc.ir.stages import Partitioned

WARNED = ("VFL0325",)
"""Codes that are warnings; all others of this analysis are errors."""


class Found(Struct, frozen=True):
    """A finding and where it stands in the user's text.

    Args:
        edges: the edges that it is about; a waiver must cover all of them.
    """

    code: str
    edges: tuple[Edge, ...]
    message: str
    span: Span | None
    help: str

    @property
    def level(self) -> Literal["error", "warning"]:
        return "warning" if self.code in WARNED else "error"


def covers(acceptance: Acceptance, edge: Edge) -> bool:
    """Whether a waiver's target names an edge: all gradients to a party, a value, or the edge's own id."""
    target = acceptance.target
    if target.gradients_to is not None:
        return edge.phase == "backward" and edge.target == target.gradients_to
    names = [name for name in (edge.id, edge.node, edge.gradient_of) if name is not None]
    if any(name in target.values for name in names):
        return True
    return any(name == target.text or name.startswith(f"{target.text}.") for name in names)


def settle(model: Partitioned, found: Sequence[Found], collector: DiagnosticCollector) -> tuple[Finding, ...]:
    """Reports what nobody waived, and waivers of what was not found; returns all for the manifest."""
    used: set[Acceptance] = set()
    settled = []
    for finding in found:
        reason = _waived(model, finding, used)
        ids = tuple(edge.id for edge in finding.edges)
        settled.append(Finding(finding.code, finding.level, ids, finding.message, reason))
        if reason is None:
            report = collector.error if finding.level == "error" else collector.warning
            report(finding.code, finding.message, finding.span, finding.help)
    for acceptance in model.acceptances:
        if acceptance not in used:
            _refuse(acceptance, found, collector)
    return tuple(settled)


def _waived(model: Partitioned, finding: Found, used: set[Acceptance]) -> str | None:
    """The reasons of the waivers that together cover every edge of a finding; None where one is left."""
    fitting = [a for a in model.acceptances if a.code == finding.code]
    if not finding.edges or not all(any(covers(a, e) for a in fitting) for e in finding.edges):
        return None
    chosen = [a for a in fitting if any(covers(a, edge) for edge in finding.edges)]
    used.update(chosen)
    return "; ".join(dict.fromkeys(a.reason for a in chosen))


def _refuse(acceptance: Acceptance, found: Sequence[Found], collector: DiagnosticCollector) -> None:
    """A waiver of nothing hides that the spec has changed since it was signed."""
    same = [f for f in found if f.code == acceptance.code]
    edges = ", ".join(dict.fromkeys(f"`{edge.id}`" for finding in same for edge in finding.edges))
    partly = any(covers(acceptance, edge) for finding in same for edge in finding.edges)
    if partly:
        help = f"waive all edges of the finding: {edges}"
    elif same:
        help = f"{acceptance.code} is about {edges}"
    else:
        codes = ", ".join(dict.fromkeys(f.code for f in found))
        help = (
            f"remove it: the findings there are {codes}"
            if codes
            else "remove it: there are no findings there"
        )
    collector.error(
        "VFL0307",
        f"{acceptance.code} was not found on {acceptance.target.text}",
        acceptance.span,
        help,
    )
