"""The graph: frozen nodes in topological order, by id.

Every node has one output, and the id names both. Nodes are only ever appended after their
inputs, so iteration order is an order of execution.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Any, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace
from vflc_common.words import Phase

from vflc.diagnostics.span import Span
from vflc.ir.types import TensorType

T = TypeVar("T")

PLACELESS = frozenset({"constant"})
"""Ops whose values are made wherever they are read."""


STEPS = frozenset({"guarded", "onnx"})
"""Ops whose values a step of the run makes, between two graphs of ours."""


class SecretSource(Struct, frozen=True):
    """One raw input whose secret flows through the graph."""

    party: str
    name: str
    label: bool = False

    def __str__(self) -> str:
        return f"{self.party}.{self.name}"


_MOST_OWNED = 1 << 13
_owned: dict[int, tuple[frozenset[SecretSource], frozenset[str], bool]] = {}
"""Sets by their identity, each kept so that no other has it: many values share one, and it may be large."""


def owners_of(sources: frozenset[SecretSource]) -> frozenset[str]:
    """The parties whose secrets these are."""
    return _known(sources)[1]


def _known(sources: frozenset[SecretSource]) -> tuple[frozenset[SecretSource], frozenset[str], bool]:
    """A set of secrets, their owners, and whether a label is among them."""
    if (known := _owned.get(id(sources))) is not None:
        return known
    known = sources, frozenset([s.party for s in sources]), any(s.label for s in sources)
    if len(_owned) >= _MOST_OWNED:
        _owned.clear()
    _owned[id(sources)] = known
    return known


class Node(Struct, frozen=True):
    """One value: an op applied to inputs.

    Args:
        id: unique in the graph; the binding's path where the user named the value.
        op: name of the primitive op in `vflc.ops`.
        inputs: ids of the inputs, in the op's order.
        attrs: the op's static arguments; never mutated.
        type: shape and element type.
        sources: the features and labels whose secrets flowed in.
        place: where it is computed; None until the place pass unless demanded.
        phase: forward or backward.
        span: the user's text it came from.
    """

    id: str
    op: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    type: TensorType
    sources: frozenset[SecretSource] = frozenset()
    place: str | None = None
    phase: Phase = "forward"
    span: Span | None = None

    @property
    def owners(self) -> frozenset[str]:
        """The parties whose secrets flowed in."""
        return owners_of(self.sources)

    @property
    def tells_label(self) -> bool:
        """Whether a label flowed in."""
        return _known(self.sources)[2]

    def moved(self, place: str) -> Node:
        return self if self.place == place else replace(self, place=place)


class Graph(Struct, eq=False):
    """Nodes by id, inputs before users.

    What passes ask of it again and again is found once, until another node is added.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    _found: dict[Hashable, Any] = field(default_factory=dict)

    def __getitem__(self, node_id: str) -> Node:
        return self.nodes[node_id]

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def add(self, node: Node) -> Node:
        nodes = self.nodes
        if node.id in nodes:
            raise ValueError(f"node {node.id!r} is in the graph already")
        if node.inputs and not all(map(nodes.__contains__, node.inputs)):
            missing = [name for name in node.inputs if name not in nodes]
            raise ValueError(f"node {node.id!r} comes before its inputs {missing}")
        nodes[node.id] = node
        if self._found:
            self._found.clear()
        return node

    def exchange(self, node: Node) -> None:
        """Puts a node in the place of the one of its id, with the same inputs and type."""
        old = self.nodes[node.id]
        if (old.inputs, old.type) != (node.inputs, node.type):
            raise ValueError(f"node {node.id!r} would read or be something else")
        self.nodes[node.id] = node
        self._found.clear()

    def inputs(self, node: Node) -> tuple[Node, ...]:
        return tuple(map(self.nodes.__getitem__, node.inputs))

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """What `find` gives for the graph as it is, found once for each key; nobody may change it."""
        if key not in self._found:
            self._found[key] = find()
        found: T = self._found[key]
        return found

    def users(self) -> Mapping[str, Sequence[Node]]:
        """For every id the nodes that read it, in order; a node that reads it twice is there once."""
        return self.once("users", self._users)

    def _users(self) -> dict[str, list[Node]]:
        users: dict[str, list[Node]] = {name: [] for name in self.nodes}
        for node in self:
            inputs = node.inputs
            for name in inputs if len(inputs) < 2 else dict.fromkeys(inputs):
                users[name].append(node)
        return users

    def ancestors(self, roots: Iterable[str]) -> frozenset[str]:
        """The roots and everything they are computed from."""
        start = frozenset(roots)
        return self.once(("ancestors", start), lambda: self._ancestors(start))

    def _ancestors(self, roots: frozenset[str]) -> frozenset[str]:
        seen, new, nodes = set[str](), set(roots), self.nodes
        while new:
            seen |= new
            new = set(chain.from_iterable([nodes[name].inputs for name in new])) - seen
        return frozenset(seen)

    def only(self, keep: Set[str]) -> Graph:
        """The graph of the nodes in `keep`, which must hold their inputs too."""
        return Graph({name: node for name, node in self.nodes.items() if name in keep})
