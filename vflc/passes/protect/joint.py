"""What all protections need of a graph: which values cross, their joint row, and readers led elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from vflc_common.words import Phase

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.release import Guard, Protection
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.protection import Draw, Mechanism
from vflc.ops.registry import Options

ORDER = ("noise", "compression"), ("noise", "sum")
"""What may follow what on one edge: noise is added to what will be compressed or summed, not after."""


def readers_elsewhere(graph: Graph) -> dict[str, list[str]]:
    """Of every value that is read at other places these places, in order of the graph."""
    found: dict[str, list[str]] = defaultdict(list)
    for node in graph:
        for source in graph.inputs(node):
            crosses = source.op not in PLACELESS and source.place != node.place
            if crosses and node.place is not None and node.place not in found[source.id]:
                found[source.id].append(node.place)
    return dict(found)


def named(text: str, ids: Iterable[str]) -> list[str]:
    """The ids that are `text`, or lie in the scope `text`."""
    return [name for name in ids if name == text or name.startswith(f"{text}.")]


def covers_rows(nodes: Iterable[Node], protection: Protection, collector: DiagnosticCollector) -> bool:
    """Whether all values are numbers, so many for each row; reports the first that is not."""
    for node in nodes:
        if not node.type.batched or node.type.row_size is None or node.type.dtype != "float":
            what = "has a number of values that depends on the data"
            help = (
                "what crosses once a step, such as the gradient of a weight kept elsewhere, mixes all rows "
                "of a batch: keep the weight at the place that reads it"
            )
            if not node.type.batched:
                what = "does not belong to a row"
            elif node.type.row_size is not None:
                what = "holds ids"
                help = "ids cross as they are, or not at all: protect what is computed from their embedding"
            text = f"`{protection.mechanism}` protects rows of numbers, but `{node.id}` {node.type} {what}"
            collector.error("VFL0333", text, protection.span, help)
            return False
    return True


def warn_of_nothing_saved(
    nodes: Iterable[Node], protection: Protection, collector: DiagnosticCollector
) -> None:
    """Warns of the first value whose rows the mechanism sends as they are."""
    mechanism = MECHANISMS[protection.mechanism]
    for node in nodes:
        width = node.type.row_size
        assert width is not None, "a protection covers rows of fixed width"
        if (instead := mechanism.useless(protection.options, width)) is not None:
            numbers = "one number" if width == 1 else f"{width} numbers"
            text = f"`{node.id}` is {numbers} a row, which `{mechanism.name}` sends unchanged here"
            collector.warning("VFL0226", text, protection.span, instead)
            return


def guard_of(
    protection: Protection,
    id: str,
    place: str,
    phase: Phase,
    before: tuple[str, ...],
    after: tuple[str, ...],
    promise: str = "",
    more: Options | None = None,
    **parts: Any,
) -> Guard:
    """A guard of a protection, as its mechanism's record has it; the arguments are the fields of `Guard`.

    `promise` is other words than the mechanism's, and `more` is what stands beside the options.
    """
    mechanism = MECHANISMS[protection.mechanism]
    options = mechanism.filled(protection.options)
    return Guard(
        protection.id, place, phase, before, after, mechanism.privacy, promise or mechanism.promise(options),
        id, mechanism.name, options | dict(more or {}), span=protection.span, **parts,
    )  # fmt: skip


class ProtectionChain(Struct):
    """Which protections an edge has already, by the value that crosses now."""

    role: dict[str, Protection]

    def follows(self, ids: Iterable[str], protection: Protection, collector: DiagnosticCollector) -> bool:
        """Whether the protection may come after those that are there; reports where not."""
        mechanism = MECHANISMS[protection.mechanism]
        for name in ids:
            before = self.role.get(name)
            if before is None or (MECHANISMS[before.mechanism].role, mechanism.role) in ORDER:
                continue
            collector.error(
                "VFL0336",
                f"`{name}` is already protected with `{before.mechanism}`; `{protection.mechanism}` "
                "cannot come after it",
                protection.span,
                "use one mechanism that adds noise, then at most one that compresses or hides the value "
                "in a masked sum",
            )
            return False
        return True


class GuardedValues(Struct):
    """A mechanism at work on values of one place.

    Args:
        build: grows by what the mechanism does.
        guard: id of the guard.
        keeps: pairs of what is fed for a row and what is kept of it.
    """

    build: Build
    guard: str
    keeps: list[tuple[str, str]]
    made: list[Node]

    def apply(self, nodes: list[Node], mechanism: Mechanism, protection: Protection) -> list[Node]:
        """Each value as it is in training; `when_training` parts it from what it is otherwise."""
        if mechanism.joint:
            return self._joint(nodes, mechanism, protection)
        return [self._joint([node], mechanism, protection)[0] for node in nodes]

    def _joint(self, nodes: list[Node], mechanism: Mechanism, protection: Protection) -> list[Node]:
        b = self.build
        parts = [b.op("reshape", n, sizes=(n.type.row_size,), names=(None,)) for n in nodes]
        row = b.op("concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        drawn: list[Node] = []

        def draw(what: Draw, width: int) -> Node:
            drawn.append(draw_node(b, self.guard, what, row, width))
            return drawn[-1]

        with MECHANISMS.using(mechanism.name):
            assert mechanism.apply is not None
            applied = mechanism.apply(b, row, protection.options, draw)
            if applied.kept is not None:
                self.keeps.append((drawn[0].id, applied.kept.id))
            whole = b.op("when_training", applied.training, applied.inference)
        return self._apart(whole, nodes)

    def _apart(self, row: Node, nodes: list[Node]) -> list[Node]:
        b, start, found = self.build, 0, []
        for node in nodes:
            size = node.type.row_size
            assert size is not None
            part = b.op("slice", row, axis=1, start=start, stop=start + size) if len(nodes) > 1 else row
            names = tuple(axis.name for axis in node.type.row_axes)
            found.append(b.op("reshape", part, sizes=tuple(a.size for a in node.type.row_axes), names=names))
            start += size
        return found


def draw_node(b: Build, guard: str, draw: Draw, like: Node, width: int | None, once: bool = False) -> Node:
    """Adds what a run feeds: so many numbers for each row of `like`, or `once` for a step, or an id."""
    attrs = {"kind": draw.kind, "scale": draw.scale, "keep": draw.keep, "classes": draw.classes}
    attrs |= {"once": True} if once else {}
    return b.op("drawn", like, guard=guard, width=width, dtype="float" if width else "int", **attrs)


def called(b: Build, node: Node, name: str) -> Node:
    """The same value under a name of its own."""
    axes = tuple(axis.name for axis in node.type.axes)
    return b.graph.add(
        replace(
            node, id=name, op="rename", inputs=(node.id,), attrs={"names": axes}, place=b.place,
            phase=b.phase, span=b.span,
        )
    )  # fmt: skip


def fresh(graph: Graph, base: str) -> str:
    """The name, with a number after it where it is taken."""
    name, count = base, 1
    while name in graph:
        count += 1
        name = f"{base}_{count}"
    return name


def rewired(graph: Graph, changed: Mapping[str, Node]) -> Graph:
    """The graph with some nodes replaced, inputs before users again and otherwise in the old order."""
    nodes = {node.id: changed.get(node.id, node) for node in graph}
    result = Graph()
    for name in nodes:
        stack = [name]
        while stack:
            top = nodes[stack[-1]]
            missing = [source for source in reversed(top.inputs) if source not in result]
            if missing:
                stack += missing
                continue
            stack.pop()
            if top.id not in result:
                result.add(top)
    return result
