"""A sketch of a manifest: what a bundle tells without its spec, a box a place and all that crosses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import convert, to_builtins
from msgspec.structs import replace
from vflc_common.bound import Bound

from vflc.emit.manifest.diagram import ROWS_TOUCHED, shape
from vflc.emit.manifest.disclosed import kinds
from vflc.picture.sketch import CrossingValue, DrawnValue, MayLearn, Sketch, ValueKind

FREE = frozenset({"nothing", "rows", "counts"})
"""Bounds that need no grant."""
MODEL = "model"
"""The box of all that a place computes."""


def sketch_manifest(manifest: Mapping[str, Any]) -> Sketch:
    """Columns of each party, one box for what it computes, and every value that crosses.

    Args:
        manifest: as `manifest.json` has it.

    Raises:
        KeyError, TypeError, ValueError: it is none of this version.
    """
    values: list[DrawnValue] = []
    reads: list[tuple[str, str]] = []
    for party in manifest["parties"]:
        name = party["name"]
        for kind, block in (("feature", (name,)), ("label", (f"{name}.labels",))):
            for column in party[f"{kind}s"]:
                values.append(DrawnValue(f"{name}.{column}", name, _kind(kind), kind, block))
                reads.append((f"{name}.{column}", f"{name}.{MODEL}"))
    for place in manifest["places"]:
        values.append(DrawnValue(f"{place}.{MODEL}", place, "value", "what runs here"))
    made = []
    for each in crossings(manifest):
        owner = f"{each.target if each.backward else each.source}.{MODEL}"
        made.append(replace(each, value=owner))
        if not each.backward:
            reads.append((owner, f"{each.target}.{MODEL}"))
    ends = [place for each in made for place in (each.source, each.target)]
    places = dict.fromkeys([*manifest["places"], *(value.place for value in values), *ends])
    unit = "client update" if "population" in manifest else "step"
    kept = tuple(dict.fromkeys(reads))
    found = Sketch(manifest["model"], tuple(places), tuple(values), kept, tuple(made), unit=unit)
    return convert(to_builtins(found), Sketch)  # what another made of a manifest has the types that it should


def crossings(data: Mapping[str, Any]) -> Iterator[CrossingValue]:
    """Every edge with what its receiver may learn through it and what it is known to reveal.

    Args:
        data: a manifest, or the part of one with `edges`, `learned`, `evidence`, `grants` and `once`.
    """
    known, once = kinds(data), {*data.get("once", ())}
    learn: dict[tuple[str, str], list[MayLearn]] = {}
    grants = {(grant["party"], grant["to"], grant["column"]) for grant in data.get("grants", ())}
    for row in data.get("learned", ()):
        named = {(row["party"], row["receiver"], name) for name in (row["column"], *row["features"])}
        free = row["receiver"] == row["party"] or row["bound"]["kind"] in FREE
        about = MayLearn(
            f"{row['party']}.{row['column']}", Bound(**row["bound"]), free or bool(named & grants)
        )
        for name in row["edges"]:
            learn.setdefault((row["receiver"], name), []).append(about)
    for edge in data["edges"]:
        ends = {edge["from"], edge["to"]}
        yield CrossingValue(
            edge["id"],
            edge["gradient_of"] or edge["value"],
            edge["from"],
            edge["to"],
            shape(edge),
            edge["bytes_per_row"] or 0,
            edge["bytes_per_step"] or 0,
            bool(edge.get("sized_by")),
            edge["phase"] == "backward",
            tuple(learn.get((edge["to"], edge["id"]), ())),
            tuple(known.get(edge["id"], ())),
            tuple(dict.fromkeys(each["mechanism"] for each in edge["protections"])),
            "row of it" if ROWS_TOUCHED in edge["shape"] else "key" if ends & once else "row",
        )


def _kind(text: str) -> ValueKind:
    return "label" if text == "label" else "feature"
