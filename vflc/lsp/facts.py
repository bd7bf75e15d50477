"""What the compiler found out about the names of a spec: shapes, places, owners and what crosses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct
from vflc_common.words import BYTES

from vflc.driver import Examined, crossing
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


class SpecFacts:
    """What is known of the names of a text, and what crosses.

    Args:
        values: by the key of a name what is known of it; of a record, each field.
    """

    def __init__(self, values: dict[str, tuple[KnownValue, ...]], examined: Examined | None = None) -> None:
        self.values, self._examined = values, examined

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """What a bundle's manifest says; None where the model did not come so far."""
        return crossing(self._examined) if self._examined is not None else None

    @property
    def model(self) -> Lowered | None:
        return self._examined.model if self._examined is not None else None

    def knows(self, party: str) -> bool:
        """Whether a party is one of those that are known: not one that was written since, say."""
        return self.model is not None and self.model.party(party) is not None

    @property
    def learned(self) -> tuple[Learned, ...] | None:
        """Who may learn what; None where the model did not come so far."""
        return self.model.disclosed.learned if isinstance(self.model, Partitioned | Vectorised) else None


def facts(examined: Examined, called: Mapping[str, tree.Block]) -> SpecFacts | None:
    """What was found out; None where the spec did not become a model. `called` are blocks that it calls."""
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
        ids = [name, *(f"{name}.{field}" for field in names.fields(called, binding))]
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
            title = item.name.text
            ids = [each.node for each in model.predictions if each.name == title]
            made = [model.graph[each] for each in ids if each in model.graph]
            values[f"prediction {title}"] = tuple(map(_known, made))
    return SpecFacts({key: found for key, found in values.items() if found}, examined)


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
