"""What the compiler found out about the names of a spec: shapes, places, owners and what crosses."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from vflc_common.words import BYTES

from vflc.driver import Examined
from vflc.emit.manifest.packing import packed
from vflc.ir.graph import Graph, Node
from vflc.ir.learn import Learned
from vflc.ir.stages import Lowered, Partitioned, Vectorised
from vflc.lsp import names
from vflc.syntax import tree

PRECISION = "float32"
_TRAVELS = {"float": PRECISION, "int": "int32", "bool": "bool"}


class KnownValue(Struct, frozen=True):
    """What is known of a value.

    Args:
        shape: of one row, as `[field 4, 16]`.
        place: where it is computed; None where that is not decided.
        owners: parties whose columns flowed in.
        bytes: of one row (of the whole, where it is no value of a row); None where a run decides.
    """

    value: str
    shape: str
    place: str | None
    owners: tuple[str, ...]
    bytes: int | None


class SentValues(Struct, frozen=True):
    """What one place sends to another in one direction: how many values, and bytes a row."""

    source: str
    target: str
    values: int
    row: int
    step: int
    open_ended: bool


class SpecFacts(Struct, frozen=True):
    """By the key of a name what is known of it; of a record, each field. And what crosses.

    `learned` is None where the model did not come so far.
    """

    values: dict[str, tuple[KnownValue, ...]]
    sent: tuple[SentValues, ...] = ()
    learned: tuple[Learned, ...] | None = None


def facts(examined: Examined) -> SpecFacts | None:
    """What was found out; None where the spec did not become a model."""
    model, spec = examined.model, examined.spec
    if model is None or spec is None:
        return None
    by_span: dict[tuple[int, int], list[Node]] = {}
    for node in model.graph:
        if node.phase == "forward" and node.span is not None and node.span.source is examined.source:
            by_span.setdefault((node.span.start, node.span.end), []).append(node)
    values = dict(_columns(spec, model.graph))
    for binding in names.bindings(spec):
        name = binding.name.text
        ids = [name, *(f"{name}.{field}" for field in names.fields(spec, binding))]
        values[f"value {name}"] = tuple(_known(model.graph[each]) for each in ids if each in model.graph)
    for item in spec.items:
        if isinstance(item, tree.Block):
            for binding in item.body:
                name = binding.name.text
                span = binding.value.span
                made = [
                    node for node in by_span.get((span.start, span.end), ()) if node.id.split(".")[-1] == name
                ]
                values[f"value {item.name.text}/{name}"] = tuple(map(_known, made))
        elif isinstance(item, tree.Predict):
            called = item.name.text
            ids = [each.node for each in model.predictions if each.name == called]
            made = [model.graph[each] for each in ids if each in model.graph]
            values[f"prediction {called}"] = tuple(map(_known, made))
    kept = {key: found for key, found in values.items() if found}
    learned = model.disclosed.learned if isinstance(model, Partitioned | Vectorised) else None
    return SpecFacts(kept, tuple(_sent(model)), learned)


def _columns(spec: tree.Spec, graph: Graph) -> Iterator[tuple[str, tuple[KnownValue, ...]]]:
    for name, party in names.parties(spec).items():
        for column in party.columns:
            node = f"{name}.{column.name.text}"
            if node in graph:
                yield f"column {node}", (_known(graph[node]),)


def _known(node: Node) -> KnownValue:
    size = node.type.row_size
    count = None if size is None else size * BYTES[_TRAVELS[node.type.dtype]]
    return KnownValue(node.id, str(node.type), node.place, tuple(sorted(node.owners)), count)


def _sent(model: Lowered) -> Iterator[SentValues]:
    if not isinstance(model, Partitioned):
        return
    groups: dict[tuple[str, str], list[tuple[int, int, bool]]] = {}
    for edge in model.edges:
        node = model.graph_of(edge.programs[0])[edge.node]
        size = (node.type.row_size or 0) * BYTES[_TRAVELS[node.type.dtype]]
        size = packed(model, edge, node, PRECISION).get("bytes_per_row", size)
        row, step = (size, 0) if node.type.batched else (0, size)
        groups.setdefault((edge.source, edge.target), []).append((row, step, node.type.row_size is None))
    for (source, target), edges in groups.items():
        rows, steps, open_ended = zip(*edges, strict=True)
        yield SentValues(source, target, len(edges), sum(rows), sum(steps), any(open_ended))
