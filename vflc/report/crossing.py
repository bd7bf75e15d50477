"""What crossed, and what was waited for: bytes and time by edge."""

from __future__ import annotations

from vflc.report.elements import Html, bar, code, joined, note, table, tag
from vflc.report.numbers import duration, share, size
from vflc.report.shapes import ShownEdge
from vflc.report.shown import ShownRun

LINE = 100e6 / 8
"""Bytes a second of the line that times are told for."""


def crossing(run: ShownRun) -> Html:
    """A row for each edge; of a run between machines also what this party waited for."""
    edges = run.manifest.edges
    if not edges:
        return note("Nothing crosses between parties.")
    sent = {edge.id: run.sent.get(edge.id, 0) for edge in edges}
    whole, times = sum(sent.values()), _waited(run)
    most = max(sent.values()) or 1
    heads = ["edge", "from → to", "phase", "bytes a row|n", "bytes sent|n", "", "at 100 Mbit/s|n"]
    heads += ["waited for|n"] * bool(times)
    heads += ["depends on|w", "what is known of it|w"]
    lines = []
    for edge in sorted(edges, key=lambda each: -sent[each.id]):
        count = sent[edge.id]
        line: list[object] = [
            code(edge.id),
            f"{edge.source} → {edge.target}",
            edge.phase,
            _each(edge),
            size(count),
        ]
        line += [bar(count / most), duration(count / LINE) if count else "–"]
        line += [duration(times[edge.id]) if edge.id in times else "–"] * bool(times)
        lines.append([*line, _some(edge.depends_on), _known(edge)])
    pairs: dict[tuple[str, str], int] = {}
    for edge in edges:
        pairs[edge.source, edge.target] = pairs.get((edge.source, edge.target), 0) + sent[edge.id]
    said = [f"{a} → {b}: {size(n)} ({share(n / whole if whole else None)})" for (a, b), n in pairs.items()]
    here = "" if run.places is None else f", as far as {', '.join(run.places)} sent it"
    total = tag("p", tag("b", f"{size(whole)} in all{here}"), f"; {'; '.join(said)}")
    return joined([total, table(heads, lines, "Values that cross"), _peers(run)])


def _waited(run: ShownRun) -> dict[str, float]:
    """Seconds by edge: those of its message, told at the first edge that travels in it."""
    peers = (run.results or {}).get("peers", {})
    seconds: dict[str, float] = {}
    for peer in peers.values():
        seconds |= peer.get("messages", {})
    return {m.edges[0]: seconds[m.id] for m in run.manifest.messages if m.id in seconds and m.edges}


def _each(edge: ShownEdge) -> str:
    if edge.bytes_per_row:
        return f"{edge.bytes_per_row:,}"
    return f"{edge.bytes_per_step:,} a step" if edge.bytes_per_step else "by the data"


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "no column"


def _known(edge: ShownEdge) -> Html:
    parts = [f"protected by {each.mechanism}" for each in edge.protections]
    parts += [f"found {name}" for name in edge.findings]
    parts += [f"accepted {each.code}: {each.because}" for each in edge.accepted]
    return joined(parts, "; ") if parts else tag("span", "unprotected", class_="soft")


def _peers(run: ShownRun) -> Html:
    peers = (run.results or {}).get("peers", {})
    lines = [
        [peer, duration(each["waited"]), size(each["sent"]), size(each["received"])]
        for peer, each in peers.items()
    ]
    heads = ["peer", "waited|n", "sent on the wire|n", "received|n"]
    return table(heads, lines, "Peers of this party")
