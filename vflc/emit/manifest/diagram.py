"""Draws what a manifest says: a cluster a place, an arrow a message, labelled with what it carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

ManifestJson = Mapping[str, Any]

ROWS_TOUCHED = "rows touched"
"""The axis of the rows of a table that a client update of a population is about."""
SHOWN = 6
"""Names listed in one box before the rest is counted."""


class Arrow(Struct, frozen=True):
    """One message: between which places, and a line of text for each edge in it."""

    source: str
    target: str
    lines: tuple[str, ...]
    backward: bool


def arrows(manifest: ManifestJson) -> Iterator[Arrow]:
    """The messages of a training step, in the order of the manifest."""
    edges = {edge["id"]: edge for edge in manifest["edges"]}
    for message in manifest["messages"]:
        if "train" in message["programs"]:
            lines = tuple(_edge(edges[name]) for name in message["edges"])
            yield Arrow(message["from"], message["to"], lines, message["phase"] == "backward")


def shape(edge: Mapping[str, Any]) -> str:
    """The shape of one row of an edge: `[32]`, `[? × 16]`, or `once a step`."""
    sizes = [size for size in edge["shape"] if size not in ("batch", ROWS_TOUCHED)]
    row = f"[{' × '.join('?' if size is None else str(size) for size in sizes)}]" if sizes else "[1]"
    if ROWS_TOUCHED in edge["shape"]:
        return row
    return row if "batch" in edge["shape"] else f"{row} once a step"


def volume(edge: Mapping[str, Any]) -> str:
    """How many bytes an edge takes: `128 B a row`; a dash where only the data knows."""
    parts = [
        f"{edge[key]:,} B {unit}"
        for key, unit in (("bytes_per_row", "a row"), ("bytes_per_step", "a step"))
        if edge[key]
    ]
    return " + ".join(parts) or "-"


def mermaid(manifest: ManifestJson) -> str:
    """A Mermaid flowchart, as GitHub and many editors show it. Gradients are dotted."""
    lines = ["flowchart LR"]
    for place, boxes in _places(manifest):
        lines.append(f'  subgraph {place}_place["{place}"]')
        lines += [
            f'    {name}["{_mermaid_text(text)}"]'
            if kind != "model"
            else f'    {name}(["{_mermaid_text(text)}"])'
            for name, kind, text in boxes
        ]
        lines += [f"    {name} --> {place}_model" for name, kind, _ in boxes if kind != "model"]
        lines.append("  end")
    for arrow in arrows(manifest):
        text = _mermaid_text("\n".join(arrow.lines))
        line = f'-. "{text}" .->' if arrow.backward else f'-- "{text}" -->'
        lines.append(f"  {arrow.source}_model {line} {arrow.target}_model")
    return "\n".join(lines) + "\n"


def dot(manifest: ManifestJson) -> str:
    """The same for Graphviz: `dot -Tsvg`. Gradients are dashed."""
    lines = [
        f"digraph {_dot_text(manifest['model'])} {{",
        '  rankdir=LR; node [fontname="Helvetica", shape=box]; edge [fontname="Helvetica", fontsize=10];',
    ]
    for place, boxes in _places(manifest):
        lines.append(f"  subgraph {_dot_text('cluster_' + place)} {{ label={_dot_text(place)};")
        for name, kind, text in boxes:
            style = ", style=rounded" if kind == "model" else ""
            lines.append(f"    {_dot_text(name)} [label={_dot_text(text)}{style}];")
            if kind != "model":
                lines.append(f"    {_dot_text(name)} -> {_dot_text(place + '_model')};")
        lines.append("  }")
    for arrow in arrows(manifest):
        style = ", style=dashed" if arrow.backward else ""
        ends = f"{_dot_text(arrow.source + '_model')} -> {_dot_text(arrow.target + '_model')}"
        lines.append(f"  {ends} [label={_dot_text(chr(10).join(arrow.lines))}{style}];")
    return "\n".join([*lines, "}"]) + "\n"


FORMATS: Mapping[str, Callable[[ManifestJson], str]] = {"mermaid": mermaid, "dot": dot}


def _edge(edge: Mapping[str, Any]) -> str:
    return f"{edge['id']} {shape(edge)} {volume(edge)}"


def _places(manifest: ManifestJson) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Each place with its boxes: (id, kind, text)."""
    parties = {party["name"]: party for party in manifest["parties"]}
    for place in manifest["places"]:
        party = parties.get(place, {})
        boxes = [
            (f"{place}_{kind}", kind, f"{kind}\n{some(names)}")
            for kind in ("features", "labels", "weights")
            if (names := [_name(item) for item in party.get(kind, ())])
        ]
        yield place, [*boxes, (f"{place}_model", "model", f"model at {place}")]


def _name(item: Any) -> str:
    return str(item["name"] if isinstance(item, Mapping) else item)


def some(names: Sequence[str]) -> str:
    """Names in a line; of many the first few and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:SHOWN])} and {rest} more"


def _mermaid_text(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace("\n", "<br>")


def _dot_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
