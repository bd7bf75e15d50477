"""An edge as the manifest has it, and how large it is: the one place that says so."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from vflc_common.words import BYTES

from vflc.emit.manifest.packing import packed
from vflc.emit.manifest.protected import protection
from vflc.emit.manifest.sizes import sized_by
from vflc.ir.graph import SecretSource
from vflc.ir.model import Edge
from vflc.ir.stages import Partitioned


def edge_json(model: Partitioned, edge: Edge, precision: str) -> dict[str, Any]:
    """What crosses, how large it is, what it depends on, and what was found about it."""
    graph = model.graph_of(edge.programs[0])
    node = graph[edge.node]
    size = BYTES[dtype_name(node.type.dtype, precision)] * (node.type.row_size or 0)
    about = [finding for finding in model.disclosed.findings if edge.id in finding.edges]
    return {
        "id": edge.id,
        "value": edge.node,
        "from": edge.source,
        "to": edge.target,
        "phase": edge.phase,
        "shape": [axis.name if axis.size is None else axis.size for axis in node.type.axes],
        "axes": [axis.name for axis in node.type.axes],
        "dtype": dtype_name(node.type.dtype, precision),
        **({"ids": node.attrs["rows"]} if node.attrs.get("kind") == "id" else {}),
        "bytes_per_row": size if node.type.batched else 0,
        "bytes_per_step": 0 if node.type.batched else size,
        "depends_on": _names(node.sources),
        "sized_by": sized_by(graph, node),
        "gradient_of": edge.gradient_of,
        "programs": list(edge.programs),
        "protections": [protection(guard) for guard in model.guards_of(edge.node)],
        "findings": [f.code for f in about if f.accepted is None],
        "accepted": [{"code": f.code, "because": f.accepted} for f in about if f.accepted is not None],
        "discloses": model.disclosed.disclosures.get(edge.id, {}),
        **packed(model, edge, node, precision),
    }


@lru_cache(64)
def _names(sources: frozenset[SecretSource]) -> list[str]:
    """In order. In a model of many columns thousands of edges depend on the same ones."""
    return sorted(map(str, sources))


def dtype_name(dtype: str, precision: str) -> str:
    """The element type as it travels."""
    return {"float": precision, "int": "int32", "bool": "bool"}[dtype]
