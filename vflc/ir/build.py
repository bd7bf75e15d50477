"""Adds nodes to a graph: the one way in which passes, ops and optimizers make values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, field
from vflc_common.words import Phase

from vflc.diagnostics.span import Span
from vflc.ir.budget import Budget
from vflc.ir.graph import Graph, Node, SecretSource
from vflc.ir.model import FittedTable
from vflc.ir.types import Axis, DType, TensorType

UNSHARED = frozenset({"weight", "random", "drawn"})
"""Ops of which two equal ones are still two values."""


class OpTypes(Protocol):
    """The one thing a build asks of the registry: the type of an op's output."""

    def __call__(self, op: str, types: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType: ...


class Initializer(Struct, frozen=True):
    """How a weight starts: `zeros`, `constant`, `uniform` (±scale), `normal` (scale), `glorot_uniform`,
    `orthogonal`, or `unit_forget`: a memory's bias, 1 for its forget gate."""

    kind: str
    scale: float = 0.0


class LossTerm(Struct, frozen=True):
    """What a loss function made: the ids of its scalar, of the values it compares and of its weight.

    `kind` is the function's name (`bce`); penalties (`l2`) compare nothing. `whole` are the weights of a
    penalty on all their rows, and `strength` is its coefficient.
    """

    node_id: str
    kind: str
    logit_id: str | None = None
    label_id: str | None = None
    weight_id: str | None = None
    whole: tuple[str, ...] = ()
    strength: float = 0.0


class Build(Struct):
    """A graph under construction.

    Args:
        graph: grows as ops are added.
        infer: the registry's type rule.
        scope: path of the binding at hand; prefixes ids and names of weights.
        place: demanded place of new nodes, if any.
        phase: phase of new nodes.
        span: the user's text that new nodes come from.
        assigns: (weight's name, id of its value after the step), for weights that are not trained.
        losses: one entry for every loss and penalty made.
        fits: one entry for every table that is fitted before the first step.
        budget: what nodes are counted against, where a user's text makes them.
    """

    graph: Graph
    infer: OpTypes
    scope: tuple[str, ...] = ()
    place: str | None = None
    phase: Phase = "forward"
    span: Span | None = None
    assigns: list[tuple[str, str]] = field(default_factory=list)
    losses: list[LossTerm] = field(default_factory=list)
    fits: list[FittedTable] = field(default_factory=list)
    budget: Budget | None = None
    _counts: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[Any, ...], Node] = field(default_factory=dict)

    def within(self, **changes: Any) -> _Within:
        """Sets scope, place, phase or span for the nodes made inside."""
        return _Within(self, changes)

    def fresh(self, label: str) -> str:
        """An id in the scope: `scope.label`, then `scope.label_2`, …"""
        base = ".".join((*self.scope, label)) if self.scope else label
        counts, nodes = self._counts, self.graph.nodes
        while True:
            counts[base] = count = counts.get(base, 0) + 1
            name = base if count == 1 else f"{base}_{count}"
            if name not in nodes:
                return name

    def op(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        """Applies a primitive. The same op on the same inputs at the same place is the same node.

        Raises:
            OpError: the inputs do not fit the op.
            TooLarge: the budget is spent.
        """
        return self.called(op, op, inputs, attrs)

    def called(self, label: str, op: str, inputs: Sequence[Node], attrs: Mapping[str, Any]) -> Node:
        """As `op`, with an id of its own choice: `scope.label`."""
        names = tuple([x.id for x in inputs])
        frozen = _frozen(attrs)
        key = (op, names, _told_apart(frozen) if op == "constant" else frozen, self.place, self.phase)
        if op not in UNSHARED and (known := self._known.get(key)) is not None:
            return known
        type_ = self.infer(op, [x.type for x in inputs], attrs)
        node = Node(
            self.fresh(label),
            op,
            names,
            attrs,
            type_,
            _joined([x.sources for x in inputs]),
            self.place,
            self.phase,
            self.span,
        )
        self._known[key] = node
        return self._add(node)

    def constant(self, value: float | int | bool | Sequence[Any], dtype: DType = "float") -> Node:
        """A constant: a number, or nested tuples for an array."""
        return self.op("constant", value=_frozen(value), dtype=dtype)

    def weight(
        self,
        label: str,
        axes: Sequence[Axis],
        init: Initializer,
        trainable: bool = True,
        table: bool = False,
        sources: frozenset[SecretSource] = frozenset(),
    ) -> Node:
        """A weight named after the scope. A `table`'s first axis are rows that `gather` reads.

        `sources` are what it is fitted to, where no optimizer trains it.
        """
        node_id = self.fresh(label)
        node = Node(
            node_id,
            "weight",
            (),
            {"name": node_id, "init": init, "trainable": trainable, "table": table},
            TensorType(tuple(axes)),
            sources,
            self.place,
            "forward",
            self.span,
        )
        return self._add(node)

    def _add(self, node: Node) -> Node:
        if self.budget is not None:
            self.budget.spend(node)
        return self.graph.add(node)

    def random(self, label: str, like: Node) -> Node:
        """Uniform numbers in [0, 1) of the shape of `like`, from seed, step and this node's id alone."""
        return self.op("random", like, label=self.fresh(label))


class _Within:
    """Changes of a build for the length of a `with`; many are made, so that it is no generator."""

    __slots__ = ("before", "build", "changes")

    def __init__(self, build: Build, changes: dict[str, Any]) -> None:
        self.build, self.changes = build, changes

    def __enter__(self) -> None:
        build = self.build
        self.before = [(name, getattr(build, name)) for name in self.changes]
        for name, value in self.changes.items():
            setattr(build, name, value)

    def __exit__(self, *error: object) -> None:
        for name, value in self.before:
            setattr(self.build, name, value)


def _joined(sets: Sequence[frozenset[SecretSource]]) -> frozenset[SecretSource]:
    """All secrets together: the largest set itself where it has them all, as gradients of many columns do."""
    telling = [each for each in sets if each]
    if len(telling) < 2:
        return telling[0] if telling else frozenset()
    largest = max(telling, key=len)
    if all(each is largest or each <= largest for each in telling):
        return largest
    return largest.union(*telling)


def _frozen(value: Any) -> Any:
    """A hashable copy of attributes and constants."""
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple([_frozen(item) for item in value])
    if isinstance(value, (dict, Mapping)):  # a dictionary is known at once
        return tuple(sorted([(key, _frozen(item)) for key, item in value.items()])) if value else ()
    return value


def _told_apart(frozen: Any) -> Any:
    """What `_frozen` gave of a constant, by which others are the same: 0 and −0 are equal, but not 1 / 0."""
    if isinstance(frozen, tuple):
        return tuple([_told_apart(item) for item in frozen])
    return "-0" if isinstance(frozen, float) and str(frozen) == "-0.0" else frozen
