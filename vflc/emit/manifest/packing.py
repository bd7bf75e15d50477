"""The form in which an edge travels, where a protection gives it another than the graphs have."""

from __future__ import annotations

from math import prod
from typing import Any

from vflc_common.codec import RowFormat
from vflc_common.codecs import CODECS
from vflc_common.words import BYTES, MASKED, RANGE

from vflc.ir.graph import Node
from vflc.ir.model import Edge
from vflc.ir.release import Guard
from vflc.ir.stages import Partitioned
from vflc.ops.mechanisms import MECHANISMS


def packed(model: Partitioned, edge: Edge, node: Node, precision: str) -> dict[str, Any]:
    """What replaces an edge's shape, type and size in the manifest; empty where it travels as it is."""
    guard = next(iter(reversed(model.guards_of(edge.node))), None)
    row = [axis.size for axis in node.type.row_axes]
    if guard is None or None in row:
        return {}
    sizes = [size for size in row if size is not None]
    if guard.masks:
        return _masked(model, guard, sizes)
    mechanism = MECHANISMS[guard.mechanism]
    if (packs := mechanism.packs) is None:
        return {}
    width, by_range = prod(sizes), packs.by_range(guard.options)
    with MECHANISMS.using(mechanism.name):
        settings = packs.settings(guard.options, width)
        size = CODECS[packs.codec].bytes(RowFormat(settings, width, BYTES[precision]), by_range)
    if size >= width * BYTES[precision]:
        return {}
    packing = {"as": packs.codec, **settings, "row": sizes}
    packing |= {"by": f"{edge.id}.range"} if by_range else {}
    return {"shape": ["batch", size], "dtype": "uint8", "bytes_per_row": size, "packing": packing}


def ranges(edges: list[dict[str, Any]], precision: str) -> dict[str, dict[str, Any]]:
    """Of each edge that is packed by the range of its batch the edge that carries this range."""
    return {
        edge["id"]: {
            **edge,
            "id": edge["packing"]["by"],
            "value": f"{edge['value']}.range",
            "shape": [2],
            "axes": [None],
            "dtype": precision,
            "bytes_per_row": 0,
            "bytes_per_step": 2 * BYTES[precision],
            "packing": {"as": RANGE, "of": edge["id"]},
        }
        for edge in edges
        if "by" in edge.get("packing", {})
    }


def _masked(model: Partitioned, guard: Guard, row: list[int]) -> dict[str, Any]:
    """Fixed point in 64 bits: what a mask makes of a number has no fewer."""
    ids = {edge.node: edge.id for edge in model.edges}
    members = [name for name in guard.options["members"] if name in ids]
    return {
        "dtype": "int64",
        "bytes_per_row": 8 * prod(row),
        "packing": {
            "as": MASKED,
            "row": row,
            "sum": guard.options["sum"],
            "members": [ids[name] for name in members],
            "places": [str(model.graph[name].place) for name in members],
            "range": guard.options["range"],
        },
    }
