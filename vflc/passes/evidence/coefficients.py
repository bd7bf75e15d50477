"""What multiplies the derivative of the loss on its way back: the coefficient of a gradient.

A gradient that depends on a label is, row by row, a coefficient times δ, the derivative of the loss
at the value that it judges (for `bce` p - y, whose sign is the label). Where the coefficient is the
same for all rows, or has a known sign, δ is given away up to one global factor or sign, and with it
the label. This is an abstract interpretation of reverse mode: each op's `slopes` say what a step back
does to the coefficient.

The algebra is sound for "the coefficient is not of this kind" in one direction only: what it calls
`fixed` or `signed` is so for all weights; what it calls unknown may still be close to it, of which
the warnings and `vflc audit` tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from vflc.ir.graph import Graph, Node
from vflc.ops import OPS
from vflc.ops.traits import Slope
from vflc.passes.evidence.values import Fact


class Coefficient(Struct, frozen=True):
    """Of every element of a value: the factor before δ.

    Args:
        varies: whether it differs from row to row, each element in its own way.
        scaled: factors above 0 that differ from row to row, the same for all elements of one.
        sign: 1 or -1 where that is its sign in all elements; None where each element has a sign of
            its own, the same in all rows.
        zeros: whether it may vanish in some rows.
        known: what the receiver can divide by, element by element: ids of values it knows.
        common: the same, one number a row.
        whole: the receiver knows all of it.
        mixed: elements of a δ of several numbers (of `cce`) were combined.
        parts: factors, elementwise at several values joined together, of which the receiver may know some.
        unknown: none of this holds, and the rest has no meaning.
    """

    varies: bool = False
    sign: int | None = 1
    zeros: bool = False
    scaled: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    common: tuple[str, ...] = ()
    whole: bool = True
    mixed: bool = False
    parts: tuple[str, ...] = ()
    unknown: bool = False

    @property
    def words(self) -> str:
        """For the manifest."""
        if self.unknown:
            return "varies by row"
        if self.varies or self.scaled:
            return "known sign"
        return "known by row" if self.known or self.common else "same for all rows"


UNKNOWN = Coefficient(unknown=True)
ONE = Coefficient()


def added(x: Coefficient, y: Coefficient) -> Coefficient:
    """Two paths that end in the same value."""
    if x.parts != y.parts:
        x, y = scattered(x), scattered(y)
    if x.scaled != y.scaled:
        x, y = (replace(c, varies=c.varies or bool(c.scaled), scaled=()) for c in (x, y))
    if x.unknown or y.unknown:
        return UNKNOWN
    whole = x.whole and y.whole
    x = replace(x, mixed=x.mixed or y.mixed)
    if (x.known, x.common) != (y.known, y.common):
        known = _joined(x.known + x.common, y.known + y.common)
        return replace(x, sign=None, zeros=True, known=known, common=()) if whole else UNKNOWN
    if not x.varies and not y.varies:
        return replace(x, sign=x.sign if x.sign == y.sign else None, zeros=x.zeros or y.zeros, whole=whole)
    if x.sign is None or x.sign != y.sign:
        return UNKNOWN
    return replace(x, varies=True, zeros=x.zeros and y.zeros, whole=whole)


def scattered(c: Coefficient) -> Coefficient:
    """Where factors at joined values cannot be told apart, they are ones that vary and nobody knows."""
    if not c.parts:
        return c
    return UNKNOWN if c.mixed else replace(c, varies=True, whole=False, parts=())


class Backward:
    """Coefficients of one loss for one receiver.

    Args:
        graph: the training graph.
        facts: about its forward values.
        knows: ids of values that the receiver computes, or gets, or can compute from them.
        several: δ has several numbers a row.
    """

    def __init__(self, graph: Graph, facts: Mapping[str, Fact], knows: frozenset[str], several: bool) -> None:
        self.graph, self.facts, self.knows, self.several = graph, facts, knows, several
        self.readers: dict[str, dict[str, list[int]]] = {}
        """For every value who reads it, and at which positions."""
        for node in graph:
            if node.phase == "forward":
                for position, name in enumerate(node.inputs):
                    self.readers.setdefault(name, {}).setdefault(node.id, []).append(position)

    def run(self, score: str) -> dict[str, Coefficient]:
        """For every forward value that `score` is computed from, its coefficient."""
        found: dict[str, Coefficient] = {score: ONE}
        for node in reversed(list(self.graph)):
            total = self.at(node, found, lambda reader: True)
            if total is not None:
                found[node.id] = total
        return found

    def at(
        self, node: Node, found: Mapping[str, Coefficient], counts: Callable[[Node], bool]
    ) -> Coefficient | None:
        """What flows back into a node from those of its readers that count; None where nothing does."""
        total: Coefficient | None = None
        for name, positions in self.readers.get(node.id, {}).items():
            reader = self.graph[name]
            if name not in found or not counts(reader):
                continue
            for slope in map(OPS[reader.op].slope, positions):
                if slope.kind != "none":
                    part = self._step(reader, node, slope, found[reader.id])
                    total = part if total is None else added(total, part)
        return total

    def _step(self, reader: Node, node: Node, slope: Slope, c: Coefficient) -> Coefficient:
        """Back through one op."""
        if OPS[reader.op].joins and node.id in self.knows:
            c = replace(c, known=_joined(c.known, c.parts), parts=())
        c = scattered(c)
        if c.unknown or slope.kind == "any" or (node.type.batched and not reader.type.batched):
            return UNKNOWN
        if slope.kind == "copy":
            c = c if slope.sign > 0 or c.sign is None else replace(c, sign=-c.sign)
        elif slope.kind == "sign":
            c = self._by_own(c, reader, node, zeros=False)
        elif slope.kind == "mask":
            c = self._by_own(c, reader, node, zeros=True)
        elif slope.kind == "factor":
            assert slope.by is not None
            c = self._times(c, reader.inputs[slope.by], slope.sign)
        else:
            assert slope.by is not None
            return self._mixed(c, reader, reader.inputs[slope.by])
        return self._summed(c) if _narrower(node, reader) else c

    def _by_own(self, c: Coefficient, reader: Node, node: Node, zeros: bool) -> Coefficient:
        """By a positive derivative at the node's value, which whoever knows the value can divide by."""
        c = replace(c, zeros=c.zeros or zeros)
        single = reader.type.row_size == 1
        if all(name in self.knows for name in reader.inputs):
            return _divided(c, reader.id, single)
        if not any(self.facts[name].varies for name in reader.inputs):
            return replace(c, whole=False)
        if OPS[node.op].joins and len(reader.inputs) == 1:
            return replace(c, parts=_joined(c.parts, (reader.id,)))
        return _varied(c, reader.id, single)

    def _times(self, c: Coefficient, name: str, sign: int) -> Coefficient:
        """By another value, elementwise."""
        fact, single = self.facts[name], self.graph[name].type.row_size == 1
        known, strict, weak = name in self.knows, fact.range.sign, fact.range.weak_sign
        if known and fact.varies:
            return _divided(replace(c, zeros=c.zeros or not strict), name, single)
        if fact.varies and not weak:
            return UNKNOWN
        turn = (weak if fact.varies else strict) * sign
        turned = replace(c, sign=c.sign * turn if c.sign is not None and turn else None)
        if not fact.varies:
            return replace(turned, whole=c.whole and known)
        return _varied(replace(turned, zeros=c.zeros or not strict), name, single)

    def _mixed(self, c: Coefficient, reader: Node, name: str) -> Coefficient:
        """By a matrix: sums over the elements of the reader's last axis, where it has more than one."""
        fact = self.facts[name]
        single, mixed = reader.type.axes[-1].size == 1, c.mixed or self.several
        if name in self.knows and c.whole:
            factors = _joined(c.known, (name,)) if fact.varies else c.known
            return replace(c, sign=None, zeros=True, known=factors, mixed=mixed)
        if fact.varies or (not single and (c.varies or c.known)):
            return UNKNOWN
        return replace(c, sign=None, whole=False, mixed=mixed)

    def _summed(self, c: Coefficient) -> Coefficient:
        """By the sum over what one element was copied to."""
        if c.whole or (not c.varies and not c.known):
            return c
        return UNKNOWN if c.sign is None or c.known else c


def _divided(c: Coefficient, factor: str, single: bool) -> Coefficient:
    """By a factor that differs by row and that the receiver knows."""
    if single:
        return replace(c, common=_joined(c.common, (factor,)))
    return replace(c, known=_joined(c.known, (factor,)))


def _varied(c: Coefficient, factor: str, single: bool) -> Coefficient:
    """By a factor that differs by row, of one sign, that the receiver does not know."""
    if single:
        return replace(c, scaled=_joined(c.scaled, (factor,)), whole=False)
    return UNKNOWN if c.mixed else replace(c, varies=True, whole=False)


def _joined(x: tuple[str, ...], y: tuple[str, ...]) -> tuple[str, ...]:
    """The factors of a product."""
    return tuple(sorted(x + y))


def _narrower(node: Node, reader: Node) -> bool:
    """Whether the op read each element several times: its gradient is a sum of theirs."""
    own, wide = node.type.row_size, reader.type.row_size
    return own is not None and wide is not None and own < wide and not OPS[reader.op].places
