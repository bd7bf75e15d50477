"""The form in which an edge travels, where a protection gives it another than the graphs have."""

from __future__ import annotations

from math import prod
from typing import Any

from vflc_common.words import BYTES

from vflc.ir.graph import Node
from vflc.ir.model import Edge
from vflc.ir.release import Guard
from vflc.ir.stages import Scheduled


def packed(model: Scheduled, edge: Edge, node: Node, precision: str) -> dict[str, Any]:
    """What replaces an edge's shape, type and size in the manifest; empty where it travels as it is."""
    guard = next(iter(reversed(model.guards_of(edge.node))), None)
    row = [axis.size for axis in node.type.row_axes]
    if guard is None or None in row:
        return {}
    sizes = [size for size in row if size is not None]
    if guard.mechanism == "secure_sum":
        return _masked(model, guard, sizes)
    width, about = prod(sizes), dict(guard.options)
    if guard.mechanism == "quantize":
        packing = {"as": "quantize", "bits": about["bits"], "row": sizes}
        size = -(-width * about["bits"] // 8)
        if about["per"] == "batch":
            packing["by"] = f"{edge.id}.range"
        else:
            size += BYTES[precision]
    elif guard.mechanism == "top_k":
        kept = min(about["k"], width)
        size = kept * (BYTES[precision] + (2 if width <= 2**16 else 4))
        packing = {"as": "top_k", "k": kept, "row": sizes}
    else:
        return {}
    if size >= width * BYTES[precision]:
        return {}
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
            "packing": {"as": "range", "of": edge["id"]},
        }
        for edge in edges
        if "by" in edge.get("packing", {})
    }


def _masked(model: Scheduled, guard: Guard, row: list[int]) -> dict[str, Any]:
    """Fixed point in 64 bits: what a mask makes of a number has no fewer."""
    ids = {edge.node: edge.id for edge in model.edges}
    members = [name for name in guard.options["members"] if name in ids]
    return {
        "dtype": "int64",
        "bytes_per_row": 8 * prod(row),
        "packing": {
            "as": "masked",
            "row": row,
            "sum": guard.options["sum"],
            "members": [ids[name] for name in members],
            "places": [str(model.graph[name].place) for name in members],
            "range": guard.options["range"],
        },
    }
