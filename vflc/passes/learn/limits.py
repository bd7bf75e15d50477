"""What a party releases, against what would leave it."""

from __future__ import annotations

from collections.abc import Iterator

from vflc_common.words import PROGRAMS

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.model import Edge
from vflc.ir.release import Limit, Release
from vflc.passes.evidence.analysis import Analysis


def check_releases(analysis: Analysis, collector: DiagnosticCollector) -> None:
    """Refuses every edge that leaves a party beyond a limit, at the limit."""
    for release in analysis.model.releases:
        leaving = [edge for edge in analysis.model.edges if edge.source == release.party]
        for limit in release.limits:
            for message, help in _broken(analysis, release, limit, leaving):
                collector.error("VFL0305", message, limit.span, help)


def _broken(
    analysis: Analysis, release: Release, limit: Limit, leaving: list[Edge]
) -> Iterator[tuple[str, str]]:
    party = release.party
    if limit.kind in ("activations", "gradients"):
        yield from _too_wide(analysis, party, limit, leaving)
    elif limit.kind == "party":
        for edge in leaving:
            if edge.target not in limit.names:
                yield (
                    f"`{edge.id}` leaves {party} for {edge.target}",
                    f"the release allows only {_list(limit.names)}",
                )
    elif limit.kind == "edge":
        targets = list(zip(limit.names, limit.values, strict=True))
        for name, values in targets:
            if not any(_named(edge, name, values) for edge in leaving):
                crossing = _list(tuple(edge.id for edge in leaving)) or "nothing"
                yield f"`{name}` is not an edge that leaves {party}", f"what leaves is {crossing}"
        for edge in leaving:
            if edge.phase == "forward" and not any(_named(edge, *target) for target in targets):
                yield f"`{edge.id}` leaves {party}", f"the release allows only {_list(limit.names)}"


def _too_wide(analysis: Analysis, party: str, limit: Limit, leaving: list[Edge]) -> Iterator[tuple[str, str]]:
    assert limit.floats is not None
    phase = "forward" if limit.kind == "activations" else "backward"
    for program in PROGRAMS:
        edges = [e for e in leaving if e.phase == phase and program in e.programs]
        sizes = [analysis.node(e).type.row_size for e in edges if analysis.node(e).type.batched]
        total = sum(size for size in sizes if size is not None)
        unbounded = None in sizes
        if total > limit.floats or unbounded:
            names = _list(tuple(edge.id for edge in edges))
            count = "any number of" if unbounded else str(total)
            yield (
                f"{count} floats a row leave {party} as {limit.kind}, but the release allows {limit.floats}",
                f"make these narrower: {names}",
            )
            return


def _named(edge: Edge, name: str, values: tuple[str, ...]) -> bool:
    return edge.node in (name, *values) or edge.node.startswith(f"{name}.") or edge.id == name


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
