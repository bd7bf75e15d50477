"""What edges give away, and what was found and waived, as sections of manifest.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

from vflc.diagnostics.codes import CODES
from vflc.emit.manifest.text import plain

Edges = Sequence[Mapping[str, Any]]
FACTORS = {
    "same for all rows": "a factor that is the same for all rows",
    "known sign": "a factor whose sign is the same for all rows",
    "known by row": "a factor that the receiver knows",
    "varies by row": "a factor that varies by row",
}
"""What a gradient is besides the derivative of its loss, by the words of `discloses`."""


def given_away(data: Mapping[str, Any]) -> list[str]:
    """The sections; none where no edge was judged, as between a hub and its users."""
    edges: Edges = data["edges"]
    if not any(edge.get("discloses") for edge in edges):
        return []
    lines = [
        "",
        "## What they give away",
        "",
        "What is stated here holds whatever the weights are, except for `hints`. What is not stated is not",
        "excluded: the bounds are given above, and `vflc audit` measures what a trained model reveals.",
        "",
        "| edge | reveals | known to reveal |",
        "| --- | --- | --- |",
    ]
    known = kinds(data)
    for edge in edges:
        told = ", ".join(known.get(edge["id"], ())) or "–"
        lines.append(f"| `{edge['id']}` | {tells(edge['discloses'])} | {told} |")
    found = [f"- {code}, {CODES[code].lower()}: {_on(ids)}" for code, ids in findings(edges).items()]
    if found:
        lines += ["", "## Found", "", *found]
    waived = [
        f"- {code} on {_on(ids)}, because: {plain(reason)}" for (code, reason), ids in waivers(edges).items()
    ]
    if waived:
        lines += ["", "## Waived", "", *waived]
    return lines


def kinds(data: Mapping[str, Any]) -> dict[str, list[str]]:
    """By edge id the kinds of evidence, and the findings with whether they were waived."""
    found: dict[str, dict[str, None]] = {}
    for each in data.get("evidence", ()):
        for name in each["edges"]:
            found.setdefault(name, {})[each["kind"]] = None
    for edge in data["edges"]:
        waived = [f"{waiver['code']} (waived)" for waiver in edge["accepted"]]
        found.setdefault(edge["id"], {}).update(dict.fromkeys([*edge["findings"], *waived]))
    return {name: list(told) for name, told in found.items()}


def findings(edges: Edges) -> dict[str, list[str]]:
    """Ids of edges by the code of what was found about them and not waived."""
    found: dict[str, dict[str, None]] = {}
    for edge in edges:
        for code in edge["findings"]:
            found.setdefault(code, {})[edge["id"]] = None
    return {code: list(ids) for code, ids in found.items()}


def waivers(edges: Edges) -> dict[tuple[str, str], list[str]]:
    """Ids of edges by code and reason of the waivers that cover them."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for edge in edges:
        for waiver in edge["accepted"]:
            found.setdefault((waiver["code"], waiver["because"]), {})[edge["id"]] = None
    return {waiver: list(ids) for waiver, ids in found.items()}


def tells(disclosed: Mapping[str, Any]) -> str:
    """`discloses` of an edge in words."""
    if "slopes" in disclosed:
        slopes = [
            f"{', '.join(slope['labels'])}: the derivative of the loss {loss} times "
            f"{FACTORS[slope['coefficient']]}"
            for loss, slope in disclosed["slopes"].items()
        ]
        return "; ".join(slopes) or "no label that the receiver does not own"
    bits, values = disclosed["bits_per_row"], disclosed["values"]
    size = "any number of bits a row" if bits is None else f"at most {bits:,.4g} bits a row"
    if values is not None and log2(values) <= bits + 0.001:
        size += f", one of {values:,} values"
    return "; ".join([size, *_ways(disclosed["secrets"])])


def _ways(secrets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How columns flow in: those that do so in one way together."""
    ways: dict[str, list[str]] = {}
    for name, way in secrets.items():
        count = "any number of numbers" if way["width"] is None else _numbers(way["width"])
        kinds = ["linear"] * way["linear"] + ["one to one"] * way["injective"]
        ways.setdefault(", ".join([f"through {count}", *kinds]), []).append(name)
    everyone = len(ways) == 1 and len(secrets) > 1
    return [f"{'each column' if everyone else ', '.join(names)} {way}" for way, names in ways.items()]


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count:,} numbers"


def _on(ids: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in ids)
