"""Values that may not cross: a party's data itself, that no weight has touched."""

from __future__ import annotations

from collections.abc import Set

from vflc_common.encoder import IDS

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, Span
from vflc.ir.graph import PLACELESS, Graph, Node
from vflc.ir.outside import is_fixed
from vflc.ir.release import Acceptance
from vflc.ops import OPS

MOST_NAMED = 4
"""So many features are named where several are refused at once."""


def raw_values(graph: Graph) -> frozenset[str]:
    """Values that a party's data flowed into and no weight: the data itself, merely encoded.

    Numbers of a file that are not trained are no weight: whoever has the file undoes what they did.
    """
    return graph.once("raw values", lambda: _raw_values(graph))


def _raw_values(graph: Graph) -> frozenset[str]:
    weighty: set[str] = set()
    for node in graph:
        if (node.op == "weight" and not is_fixed(node)) or not weighty.isdisjoint(node.inputs):
            weighty.add(node.id)
    return frozenset({node.id for node in graph if node.sources and node.id not in weighty})


def asked_for(graph: Graph, name: str, place: str | None) -> bool:
    """Whether it is read at a place, and all that reads it there says that it crosses as it is."""
    readers = [user for user in graph.users()[name] if user.place == place]
    return bool(readers) and all(OPS[user.op].openly for user in readers)


def raw_code(node: Node) -> str:
    """The code of a raw value that crosses."""
    if node.tells_label:
        return "VFL0401"
    return "VFL0302" if node.op == "feature" else "VFL0301"


OR_SPLIT = "leave its place out, and the compiler splits it between the parties; or "
"""What else helps where a value of several parties was placed by the spec."""


KEPT_WHOLE = (
    "take `clip_norm` out of `train` (an imported model has it from `clipnorm`), and the compiler splits the "
    "layer that reads it: it clips by the norm of a whole kernel, which then must lie at one party; or "
)
"""The same where a layer over several parties' values has no place, and only its kernel keeps it whole."""


def refuse_raw(
    graph: Graph,
    demanded: Set[str],
    acceptances: tuple[Acceptance, ...],
    collector: DiagnosticCollector,
    clipped: bool = False,
) -> None:
    """Refuses every raw value that crosses, once for each place that would read it.

    One that a waiver names is left to the analysis of what crosses, which has the edges. `demanded` are the
    values whose place the spec says; `clipped` says that kernels stay whole, as `clip_norm` clips their
    gradients.
    """
    waived = {(a.code, name) for a in acceptances for name in (*a.target.values, a.target.text)}
    raw = raw_values(graph)
    refused: set[tuple[str, str | None]] = set()
    groups: dict[tuple[str, str | None, Span | None], list[tuple[Node, Node]]] = {}
    for node in graph:
        for source in graph.inputs(node) if not raw.isdisjoint(node.inputs) else ():
            crosses = source.id in raw and source.place != node.place and source.op not in PLACELESS
            if not crosses or OPS[node.op].openly or (raw_code(source), source.id) in waived:
                continue
            if (source.id, node.place) not in refused:
                refused.add((source.id, node.place))
                groups.setdefault((raw_code(source), node.place, node.span), []).append((source, node))
    joint = {n.span for n in graph if n.id in demanded and len(n.owners) > 1} if groups else set()
    for pairs in groups.values():
        first = OR_SPLIT if any(node.span in joint for _, node in pairs) else ""
        if clipped and any(node.id not in demanded and len(node.owners) > 1 for _, node in pairs):
            first += KEPT_WHOLE
        if len(pairs) > 1 and raw_code(pairs[0][0]) == "VFL0302":
            _refuse_several([source for source, _ in pairs], pairs[0][1], first, collector)
        else:
            for source, node in pairs:
                _refuse(source, node, first, collector)


def _refuse_several(features: list[Node], reader: Node, first: str, collector: DiagnosticCollector) -> None:
    """One finding for all features that one expression reads where it may not."""
    by_party: dict[str, list[Node]] = {}
    for feature in features:
        by_party.setdefault(str(feature.place), []).append(feature)
    names = ", ".join(feature.id for feature in features[:MOST_NAMED])
    more = f" and {len(features) - MOST_NAMED} more" if len(features) > MOST_NAMED else ""
    shares = list(map(_share, by_party.values()))
    if len(shares) == 1:
        help = f"compute with them at {features[0].place}: bind h = {shares[0]}, and use h here"
    else:
        help = (
            "replace a layer over several parties' features by the sum of one layer at each: bind "
            f"h1 = {shares[0]}, h2 = {shares[1]}{', …' * (len(shares) > 2)}, and compute here with "
            f"h1 + h2{' + …' * (len(shares) > 2)}"
        )
    firsts = (own[0] for own in by_party.values())
    collector.error(
        "VFL0302",
        f"{len(features)} features are read at {reader.place}, which may not see them: {names}{more}",
        reader.span,
        first + help,
        *(RelatedSpan(f.span, f"{f.id} comes from here") for f in firsts if f.span and f.span != reader.span),
    )


def _share(features: list[Node]) -> str:
    """A layer over one party's features, with two of them written out."""
    names = ", ".join(feature.id for feature in features[:2]) + ", …" * (len(features) > 2)
    if all(feature.attrs["kind"] not in IDS for feature in features):
        return f"dense(concat({names}), 8)"
    return f"dense(flatten(embed([{names}], dim = 8)), 8)"


def _refuse(source: Node, reader: Node, first: str, collector: DiagnosticCollector) -> None:
    labels = sorted(str(s) for s in source.sources if s.label)
    names = ", ".join(sorted(str(s) for s in source.sources))
    here = (
        (RelatedSpan(source.span, f"{names} comes from here"),)
        if source.span and source.span != reader.span
        else ()
    )
    where = f"at {reader.place}"
    code = raw_code(source)
    if code == "VFL0401":
        collector.error(
            code,
            f"the label {labels[0]} is read {where}, but it belongs to {source.place}",
            reader.span,
            f"compute this at {source.place}: labels stay with their owner",
            *here,
        )
    elif code == "VFL0302":
        collector.error(
            code,
            f"the feature {names} is read {where}, which may not see it",
            reader.span,
            f"{first}embed or encode it at {source.place}, in a binding of its own, and use the result here",
            *here,
        )
    else:
        collector.error(
            code,
            f"{names} would reach {reader.place} raw: no weight stands between",
            reader.span,
            f"{first}put a trained layer between, at {source.place}",
            *here,
        )
