"""Which waivers cover a finding, and what is said of those that cover none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from evidence.small_analyses import SPAN, back, edge

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.model import Edge
from vflc.ir.release import Acceptance, Finding, Target
from vflc.passes.evidence.found import Found, covers, settle


def accept(
    *values: str, to: str | None = None, text: str = "a", code: str = "VFL0301", reason: str = "r"
) -> Acceptance:
    return Acceptance(code, Target(values, to, text, SPAN), reason, SPAN)


@pytest.mark.parametrize(
    ("acceptance", "covered"),
    [
        (accept(to="alice"), {"x.gradient"}),
        (accept(to="bob"), set()),
        (accept(to="aaron"), set()),
        (accept("n"), {"e"}),
        (accept("e"), {"e"}),
        (accept("x"), {"x.gradient"}),
        (accept("other", text="x"), {"x.gradient"}),
        (accept(text="e"), {"e"}),
        (accept(text="scope"), {"scope.dense"}),
        (accept(text="sco"), set()),
        (accept("scope"), {"scope.dense"}),
    ],
)
def test_which_edges_a_waiver_names(acceptance: Acceptance, covered: set[str]) -> None:
    if acceptance.target.values == ("scope",):
        acceptance = accept("scope", text="scope")
    edges = (edge("e", node="n"), edge("scope.dense"), back("x"))
    assert {each.id for each in edges if covers(acceptance, each)} == covered


def found(*edges: Edge, code: str = "VFL0301") -> Found:
    return Found(code, edges, f"{code} found", SPAN, "help")


A, B = edge("a"), edge("b")


def settled(
    acceptances: tuple[Acceptance, ...], *findings: Found
) -> tuple[tuple[Finding, ...], list[tuple[str, str]]]:
    collector, model = DiagnosticCollector(), SimpleNamespace(acceptances=acceptances)
    kept = settle(model, findings, collector)  # type: ignore[arg-type]
    return kept, [(d.level, f"{d.code}: {d.help}") for d in collector.diagnostics]


def test_what_nobody_waives_is_reported_and_kept() -> None:
    kept, said = settled((), found(A), found(B, code="VFL0325"))
    assert kept == (
        Finding("VFL0301", "error", ("a",), "VFL0301 found", None),
        Finding("VFL0325", "warning", ("b",), "VFL0325 found", None),
    )
    assert said == [("error", "VFL0301: help"), ("warning", "VFL0325: help")]


def test_waivers_together_cover_a_finding_with_their_reasons() -> None:
    waivers = (accept("a", reason="one"), accept("b", text="b", reason="two"), accept("a", "b", reason="one"))
    (kept,), said = settled(waivers, found(A, B))
    assert kept.accepted == "one; two" and kept.edges == ("a", "b") and not said
    kept_all, said = settled((accept("a"),), found(A), found(A))
    assert [each.accepted for each in kept_all] == ["r", "r"] and not said


@pytest.mark.parametrize(
    ("acceptance", "findings", "help"),
    [
        (accept("a"), (found(A, B),), "waive all edges of the finding: `a`, `b`"),
        (accept(text="c"), (found(A, B), found(A)), "VFL0301 is about `a`, `b`"),
        (accept("a", code="VFL0302"), (found(A), found(B, code="VFL0325"), found(A)),
         "remove it: the findings there are VFL0301, VFL0325"),
        (accept("a"), (), "remove it: there are no findings there"),
        (accept("a"), (found(),), "VFL0301 is about "),
    ],
)  # fmt: skip
def test_a_waiver_of_what_was_not_found_is_refused(
    acceptance: Acceptance, findings: tuple[Found, ...], help: str
) -> None:
    kept, said = settled((acceptance,), *findings)
    assert all(each.accepted is None for each in kept)
    assert said[-1] == ("error", f"VFL0307: {help}")
    assert len(said) == len({each.message for each in findings}) + 1
