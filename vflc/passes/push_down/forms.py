"""The two forms in which a value of several parties can wait for its reader, instead of being put together.

`Pieces` lie one after another along an axis, each computed from one party's data; `SumTerms` add up to the
value. What reads a value in such a form may work on the parts where they lie. Whoever needs the value
whole asks for it, and only then is it put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vflc.ir.build import Build
from vflc.ir.graph import PLACELESS, Graph, Node, SecretSource
from vflc.ir.model import Slice
from vflc.ir.types import Axis

REST = ""
"""The owner of what belongs to no single party: weights, constants, values of several parties."""


class Piece(Struct, frozen=True):
    """A stretch of the joined axis. `owner` is the party whose data it depends on, or `REST`."""

    owner: str
    node: Node


class Pieces(Struct, frozen=True):
    """A value that is its pieces one after another along `axis`."""

    axis: int
    pieces: tuple[Piece, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How long the pieces are along the axis."""
        return tuple(length(piece.node, self.axis) for piece in self.pieces)

    def mapped(self, axis: int, nodes: Iterable[Node]) -> Pieces:
        """Other values of the same owners, along `axis`."""
        return Pieces(axis, tuple(Piece(p.owner, n) for p, n in zip(self.pieces, nodes, strict=True)))


class SumTerms(Struct, frozen=True):
    """A value that is a sum: of what each owner has of it, in the order in which they came."""

    terms: Mapping[str, Node]


SplitForm = Pieces | SumTerms


def length(node: Node, axis: int) -> int:
    """The size of an axis that pieces may lie along: it is known."""
    size = node.type.axes[axis].size
    assert size is not None
    return size


class Rewriting(Struct):
    """A graph that is being written anew.

    Args:
        old: as it was.
        build: adds to the new graph.
        named: ids of values that the spec speaks of outside the model, in `protect` and the like: they are
            computed as written.
        kept: ids of values that something outside the graph reads, such as losses.
        sliced: whether a weight may lie in slices: a gradient that its norm clips must be in one place.
        forms: by id, of values that have not been put together.
    """

    old: Graph
    build: Build
    named: frozenset[str]
    kept: frozenset[str]
    sliced: bool
    forms: dict[str, SplitForm] = field(default_factory=dict)

    def readers(self, name: str) -> Sequence[Node]:
        return self.old.users()[name]

    def whole(self, name: str) -> Node:
        """The value under its own id, put together where it is not yet."""
        if name in self.build.graph:
            return self.build.graph[name]
        node, form = self.old[name], self.forms.get(name)
        if isinstance(form, Pieces):
            return self.finish(node, "concat", *(p.node for p in form.pieces), axis=form.axis)
        if isinstance(form, SumTerms):
            *others, last = form.terms.values()
            with self.near(node):
                total = added(self.build, others)
            return self.finish(node, "add", total, last)
        return self.finish(node, node.op, *map(self.whole, node.inputs), **node.attrs)

    def near(self, node: Node) -> Any:
        """Makes nodes that come from the user's text of `node`, below its id."""
        return self.build.within(scope=(node.id,), span=node.span)

    def at_owner(self, owner: str, op: str, *inputs: Node, **attrs: Any) -> Node:
        """A part of the value at hand, under the name of its owner: `logit.alice`."""
        return self.build.called(owner or op, op, inputs, attrs)

    def finish(self, node: Node, op: str, *inputs: Node, **attrs: Any) -> Node:
        """The value at hand, whole: under its own id, with the secrets of its inputs."""
        sources = (
            frozenset[SecretSource]().union(*(each.sources for each in inputs)) if inputs else node.sources
        )
        names = tuple(each.id for each in inputs)
        return self.build.graph.add(replace(node, op=op, attrs=attrs, inputs=names, sources=sources))

    def alone(self, name: str) -> bool:
        """Whether the value at hand alone reads it."""
        return len(self.old.users()[name]) == 1 and name not in self.kept

    def owner(self, node: Node) -> str:
        """The one party whose data alone a value depends on, if it is free to be part of something else."""
        if len(node.owners) != 1 or node.id in self.named or node.op in PLACELESS:
            return REST
        (owner,) = node.owners
        return owner if node.place in (None, owner) else REST

    def pieces(self, name: str) -> Pieces | None:
        form = self.forms.get(name)
        return form if isinstance(form, Pieces) and name not in self.build.graph else None

    def slices(self, weight: str, cut: Pieces, axis: int) -> Pieces | None:
        """A weight as slices along its axis, one for each piece of the value that it meets, where that lies.

        None where it is no trained weight, or is there already as a whole or in other slices.
        """
        node = self.old[weight]
        if not self.sliced or node.op != "weight" or node.attrs["table"] or axis or "fitted" in node.attrs:
            return None
        known = self.forms.get(weight)
        if known is not None:
            assert isinstance(known, Pieces)
            alike = known.sizes == cut.sizes
            alike = alike and [p.owner for p in known.pieces] == [p.owner for p in cut.pieces]
            return known if alike else None
        if weight in self.build.graph:
            return None
        pieces, start = [], 0
        for piece, size in zip(cut.pieces, cut.sizes, strict=True):
            pieces.append(Piece(piece.owner, self._slice(node, piece.owner or "rest", start, size)))
            start += size
        self.forms[weight] = found = Pieces(0, tuple(pieces))
        return found

    def _slice(self, weight: Node, owner: str, start: int, size: int) -> Node:
        with self.build.within(scope=(weight.id,)):
            name = self.build.fresh(owner)
        first, *others = weight.type.axes
        type_ = weight.type.with_axes((Axis(first.name, size), *others))
        part = Slice(weight.attrs["name"], first.size or 0, start)
        attrs = {**weight.attrs, "name": name, "slice": part}
        return self.build.graph.add(replace(weight, id=name, attrs=attrs, type=type_))


def added(build: Build, terms: Sequence[Node]) -> Node:
    """The sum of values, in their order."""
    total = terms[0]
    for term in terms[1:]:
        total = build.op("add", total, term)
    return total


def gathered(rewriting: Rewriting, terms: Iterable[tuple[str, Node]]) -> SumTerms:
    """Terms, each owner's added up; what belongs to nobody comes last."""
    by_owner: dict[str, list[Node]] = {}
    for owner, node in terms:
        by_owner.setdefault(owner, []).append(node)
    rest = by_owner.pop(REST, None)
    found: dict[str, Node] = {}
    for owner, nodes in by_owner.items():
        total = nodes[0]
        for node in nodes[1:]:
            total = rewriting.at_owner(owner, "add", total, node)
        found[owner] = total
    if rest:
        found[REST] = added(rewriting.build, rest)
    return SumTerms(found)
