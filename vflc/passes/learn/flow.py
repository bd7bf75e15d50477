"""Which secrets every value of a program depends on: of its own row, of other rows, through weights.

A *secret* is a feature or label as its encoders make it, in the clear or behind a mechanism with a
proof. Sets of secrets are whole numbers, a bit for each, so that the pass is linear in the graph.
What a protection is fed is chance, or what it kept of the same row, which the row's message is made
of in any case: neither adds to what the message depends on.

A weight depends on all that reached its gradients in any step, and what is computed from it
depends on that. The secrets of weights are therefore the least ones that one more step does
not add to; sets only grow, so there are few rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct, field
from vflc_common.words import PROGRAMS

from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.release import Guard
from vflc.ir.stages import Partitioned
from vflc.ops import OPS
from vflc.ops.source import COLUMNS


class Secret(Struct, frozen=True):
    """A column of the graph, in the clear or as the mechanism of a guard, `behind`, lets it through."""

    source: SecretSource
    behind: str | None = None
    guard: Guard | None = None

    def __eq__(self, other: object) -> bool:
        """A guard is known by its id."""
        return isinstance(other, Secret) and (self.source, self.behind) == (other.source, other.behind)

    def __hash__(self) -> int:
        return hash((self.source, self.behind))


class Flows(Struct, frozen=True):
    """What one value depends on.

    Args:
        row: secrets of its own row, not through a weight.
        mixed: secrets of other rows, through sums over a batch or through weights.
        sizes: secrets that its number of elements depends on.
    """

    row: int = 0
    mixed: int = 0
    sizes: int = 0

    @property
    def all(self) -> int:
        return self.row | self.mixed | self.sizes


class Secrets(Struct):
    """Numbers secrets: bit i of a set is the i-th."""

    known: dict[tuple[SecretSource, str | None], int] = field(default_factory=dict)
    members: list[Secret] = field(default_factory=list)

    def bit(self, source: SecretSource, guard: Guard | None = None) -> int:
        key = (source, guard.id if guard else None)
        if key not in self.known:
            self.known[key] = len(self.members)
            self.members.append(Secret(source, guard.id if guard else None, guard))
        return 1 << self.known[key]

    def behind(self, guard: Guard, clear: int) -> int:
        """The set with what is in the clear now behind the guard; what is behind one already stays."""
        found = 0
        for index in _bits(clear):
            secret = self.members[index]
            found |= self.bit(secret.source, guard) if secret.guard is None else 1 << index
        return found

    def of(self, members: int) -> Iterator[Secret]:
        return (self.members[index] for index in _bits(members))


def _bits(members: int) -> Iterator[int]:
    while members:
        lowest = members & -members
        yield lowest.bit_length() - 1
        members ^= lowest


class FlowAnalysis:
    """The flows of a placed, differentiated, protected and cut model, in training and outside of it."""

    def __init__(self, model: Partitioned) -> None:
        self._model = model
        self.secrets = Secrets()
        self._weights: dict[str, int] = {}
        self._columns = {(party.name, c.name): c for party in model.parties for c in party.columns}
        self._sources = {
            node.id: source
            for node in [*model.graph, *model.inference]
            if node.op in COLUMNS
            for source in node.sources
            if source.name == node.attrs["name"]
        }
        self._guards = {after: guard for guard in model.guards for after in guard.after if not guard.masks}
        self._read: dict[str, Flows] = {}
        self._sums = {total: guard for guard in model.guards if guard.weights for total in guard.before}
        first = self._run(model.inference, training=False) if model.fits else {}
        self._fits = {fit.weight: first[fit.counts].all for fit in model.fits}
        self.train = self._settle()
        self.inference = self._run(model.inference, training=False)

    def graph(self, program: str) -> Mapping[str, Flows]:
        return self.train if program == "train" else self.inference

    def _settle(self) -> dict[str, Flows]:
        """The flows of a step whose weights already depend on every step before it."""
        while True:
            flows = self._run(self._model.graph, training=True)
            weights = self._learned(flows)
            if weights == self._weights:
                return flows
            self._weights = weights

    def _learned(self, flows: Mapping[str, Flows]) -> dict[str, int]:
        """What each weight depends on after a step."""
        model, found = self._model, dict(self._weights)
        for gradient in model.gradients:
            if gradient.dense is not None:
                found[gradient.weight] = found.get(gradient.weight, 0) | flows[gradient.dense].all
        for update in model.updates:
            for pair in update.pairs:
                for weight in update.arrays:
                    found[weight] = found.get(weight, 0) | flows[pair[0]].all | flows[pair[1]].all
        for weight, value in model.assigns:
            found[weight] = found.get(weight, 0) | flows[value].all
        found |= self._fits
        return found

    def _run(self, graph: Graph, training: bool) -> dict[str, Flows]:
        flows: dict[str, Flows] = {}
        for node in graph:
            flows[node.id] = self._node(graph, node, flows, training)
        return flows

    def _node(self, graph: Graph, node: Node, flows: Mapping[str, Flows], training: bool) -> Flows:
        if node.op == "weight":
            return Flows(mixed=self._weights.get(node.id, 0) | self._fitted(node))
        if node.op in COLUMNS:
            return self._source(node)
        found = _joined(_read(node, flows))
        if OPS[node.op].mixes_rows:
            found = Flows(found.row, found.all, found.sizes)
        if node.id in self._sums:
            # a row's share is bounded and the sum noisy; what rows have of each other is so in every share
            return Flows(0, self.secrets.behind(self._sums[node.id], found.row) | found.mixed, found.sizes)
        if not node.type.batched and any(graph[name].type.batched for name in node.inputs):
            found = Flows(0, found.row | found.mixed, found.sizes)
        guard = self._guards.get(node.id)
        at_work = guard is not None and PROGRAMS[0 if training else 1] in guard.programs
        if guard is not None and at_work and guard.proven:
            # what mixes rows, or is a weight, moves the messages of other rows too: no noise of one bounds it
            return Flows(self.secrets.behind(guard, found.row), found.mixed, found.sizes)
        return found

    def _source(self, node: Node) -> Flows:
        if (known := self._read.get(node.id)) is None:
            source = self._sources[node.id]
            bit = self.secrets.bit(source)
            fitted = self._columns[source.party, source.name].is_fitted
            known = Flows(bit, bit if fitted else 0, bit if node.type.row_size is None else 0)
            self._read[node.id] = known
        return known

    def _fitted(self, weight: Node) -> int:
        """What a run fits to a label, to undo its encoders, depends on the label of every row."""
        fitted = weight.attrs.get("fitted")
        return self.secrets.bit(self._sources[fitted["input"]]) if fitted else 0


def _read(node: Node, flows: Mapping[str, Flows]) -> list[Flows]:
    """What a node reads: of some inputs the shape alone. How many rows a batch has is no secret."""
    op = OPS[node.op]
    values = len(node.inputs) - op.shape_only
    found = [flows[name] for name in node.inputs[:values]]
    told = tuple(op.tells_sizes(node.attrs))
    for name in node.inputs[values:]:
        sizes = flows[name].sizes
        found.append(Flows(mixed=sizes if any(told) else 0) if told else Flows(sizes=sizes))
    return found


def _joined(inputs: list[Flows]) -> Flows:
    row = mixed = sizes = 0
    for each in inputs:
        row, mixed, sizes = row | each.row, mixed | each.mixed, sizes | each.sizes
    return Flows(row, mixed, sizes)
