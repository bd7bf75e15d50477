"""A sketch of a model, at any stage: what a mistake keeps the compiler from finding is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vflc_common.words import BYTES

from vflc.diagnostics.span import Span
from vflc.emit.manifest.edges import edge_json
from vflc.emit.manifest.learned import learned
from vflc.emit.population.manifest import population_manifest
from vflc.ir.graph import PLACELESS, Node
from vflc.ir.model import ColumnInfo
from vflc.ir.stages import ByMode, Lowered, Partitioned, Placed, Vectorised
from vflc.ops.source import COLUMNS
from vflc.picture.of_manifest import crossings
from vflc.picture.sketch import (
    NOWHERE,
    CrossingValue,
    DrawnValue,
    Sketch,
    SourceLine,
    ValueKind,
    blocks_of,
)

PRECISION = "float32"
CALL = re.compile(r"\s*([\w.]+)\s*\(")


def sketch_model(model: Lowered) -> Sketch:
    """All forward values of a model and who reads them; of weights those that another place reads.

    Args:
        model: at any stage. Of one that is not cut, values that would cross are drawn, without gradients.
    """
    nodes = _forward(model)
    shared = _shared(nodes)
    drawn = {name: node for name, node in nodes.items() if node.op != "weight" or name in shared}
    blocks = blocks_of([name for name, node in drawn.items() if node.op not in COLUMNS])
    described = _Describe(model, nodes)
    values = tuple(described.value(node, blocks.get(name)) for name, node in drawn.items())
    reads = tuple(
        (name, node.id) for node in drawn.values() for name in dict.fromkeys(node.inputs) if name in drawn
    )
    place_of = {value.id: value.place for value in values}
    if isinstance(model, Vectorised):
        made = crossings(population_manifest(model, "", PRECISION, {}, []))
    elif isinstance(model, Partitioned):
        made = crossings(_cut(model))
    else:
        made = _uncut(drawn, reads, place_of)
    places = model.places if isinstance(model, Placed) else tuple(party.name for party in model.parties)
    return Sketch(
        model.name,
        tuple(dict.fromkeys([*places, *place_of.values()])),
        values,
        reads,
        tuple(made),
        dict(_called(nodes, {block for chain in blocks.values() for block in chain})),
        "client update" if isinstance(model, Vectorised) else "step",
    )


def source_line(span: Span | None) -> SourceLine | None:
    """Where a span starts; None for what no user wrote."""
    if span is None or span.source.library:
        return None
    return SourceLine(span.source.name, *span.source.position(span.start))


def _forward(model: Lowered) -> dict[str, Node]:
    """Values of training, and behind them what only other programs compute."""
    graphs = [model.graph, *([model.inference] if isinstance(model, ByMode) else [])]
    found: dict[str, Node] = {}
    for graph in graphs:
        for node in graph:
            if node.phase == "forward" and node.op not in PLACELESS:
                found.setdefault(node.id, node)
    return found


def _shared(nodes: Mapping[str, Node]) -> frozenset[str]:
    """Weights that are read at another place than their own."""
    return frozenset(
        name
        for node in nodes.values()
        for name in node.inputs
        if name in nodes and nodes[name].op == "weight" and nodes[name].place != node.place
    )


def _called(nodes: Mapping[str, Node], blocks: set[str]) -> Iterator[tuple[str, str]]:
    """What makes a block, where it is one call in the user's text: `DeepFM`."""
    for block in blocks:
        node = nodes.get(block)
        if "." not in block and node is not None and node.span is not None:
            call = CALL.match(node.span.text)
            if call is not None:
                yield block, call.group(1)


class _Describe:
    """What is said about each value."""

    def __init__(self, model: Lowered, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._columns: dict[str, ColumnInfo] = {
            f"{party.name}.{column.name}": column for party in model.parties for column in party.columns
        }
        self._losses = {loss.node for loss in model.losses}
        self._predictions = {prediction.node for prediction in model.predictions}
        self._learned: dict[str, list[str]] = {}
        if isinstance(model, Partitioned | Vectorised):
            for row in model.disclosed.learned:
                for name in row.features:
                    says = f"{row.receiver} may learn at most {row.bound.of(row.column)}"
                    self._learned.setdefault(f"{row.party}.{name}", []).append(says)

    def value(self, node: Node, blocks: tuple[str, ...] | None) -> DrawnValue:
        kind = self._kind(node)
        place = node.place or (min(node.owners) if len(node.owners) == 1 else NOWHERE)
        party = node.id.partition(".")[0]
        folds = (party,) if kind == "feature" else ()
        return DrawnValue(
            node.id,
            place,
            kind,
            self._detail(node),
            blocks if blocks is not None else folds,
            tuple(self._told(node)),
            source_line(node.span),
        )

    def _kind(self, node: Node) -> ValueKind:
        if node.op in COLUMNS:
            return "label" if node.op == "label" else "feature"
        if node.id in self._losses:
            return "loss"
        if node.id in self._predictions:
            return "prediction"
        return "weight" if node.op == "weight" else "value"

    def _detail(self, node: Node) -> str:
        column = self._columns.get(node.id)
        if column is None:
            shape = str(node.type).removesuffix(" (once)")
            return shape if node.op == "weight" else f"{node.op} {shape}"
        chain = " → ".join(str(encoder["name"]) for encoder in column.encoders)
        chain = chain or column.type or ("computed" if column.kind == "label" else column.kind)
        ids = "" if column.rows is None else f", {column.rows:,} ids"
        return f"{chain}{ids}"

    def _told(self, node: Node) -> Iterator[str]:
        column = self._columns.get(node.id)
        if column is not None and column.table is not None:
            yield f"in the table: {column.table}"
        yield f"{node.op} {node.type}"
        for name in node.inputs:
            if name in self._nodes and self._nodes[name].op == "weight":
                yield f"reads the weight {name} {self._nodes[name].type}"
        if node.owners and node.op not in COLUMNS:
            yield f"depends on columns of {', '.join(sorted(node.owners))}"
        yield from self._learned.get(node.id, ())


def _cut(model: Partitioned) -> dict[str, Any]:
    """The part of a manifest that is about what crosses."""
    edges = [edge_json(model, edge, PRECISION) for edge in model.edges]
    return {"edges": edges, "once": list(model.once), **learned(model)}


def _uncut(
    drawn: Mapping[str, Node], reads: tuple[tuple[str, str], ...], place_of: Mapping[str, str]
) -> Iterator[CrossingValue]:
    """What is read elsewhere, where nothing was cut."""
    seen: set[tuple[str, str]] = set()
    for name, reader in reads:
        source, target = place_of[name], place_of[reader]
        if source == target or NOWHERE in (source, target) or (name, target) in seen:
            continue
        seen.add((name, target))
        kind = drawn[name].type
        size = (kind.row_size or 0) * BYTES[{"float": PRECISION, "int": "int32", "bool": "bool"}[kind.dtype]]
        row, step = (size, 0) if kind.batched else (0, size)
        shape = str(kind).removesuffix(" (once)")
        yield CrossingValue(name, name, source, target, shape, row, step, kind.row_size is None)
