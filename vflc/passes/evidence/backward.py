"""What gradients give away, labels above all; and who holds the end of the model."""

from __future__ import annotations

from collections.abc import Iterator

from vflc.ir.graph import SecretSource
from vflc.ir.learn import Evidence
from vflc.ir.model import Edge
from vflc.ir.stages import Partitioned
from vflc.ops.loss import rule_of
from vflc.ops.reading import reads_rows
from vflc.passes.evidence.analysis import Analysis, Leak, owners
from vflc.passes.evidence.found import Found
from vflc.passes.evidence.scores import ScoreBesideLabels


def labels_in_gradients(analysis: Analysis) -> Iterator[Evidence]:
    """One for every receiver and term of the objective: exact where a coefficient allows it."""
    for leak in analysis.leaks:
        edges = [e for e in analysis.model.edges if e.id in leak.edges]
        bare = [edge for edge in edges if not analysis.private(edge)]
        if leak.score.guarded or not bare:
            continue
        exact = [edge for edge in bare if not leak.edges[edge.id].unknown]
        if exact and leak.exact:
            yield _exact(leak, exact)
        elif rule_of(leak.score.loss.kind).classifies:
            says = (
                f"gradients of the loss {leak.score.loss.name}: their norms and directions hint at the "
                "label, most of all where few labels are 1"
            )
            yield Evidence("hints", leak.receiver, _secret(leak), tuple(edge.id for edge in bare), says)


def _exact(leak: Leak, edges: list[Edge]) -> Evidence:
    loss, first = leak.score.loss, edges[0]
    coefficient = leak.edges[first.id]
    how = {
        "same for all rows": "times a factor that is the same for all rows",
        "known sign": "times a factor whose sign is the same for all rows",
        "known by row": f"times a factor that {leak.receiver} knows",
    }[coefficient.words]
    where = " wherever it is not 0" if coefficient.zeros else ""
    says = f"`{first.id}` is the derivative of the loss {loss.name} {how}: {rule_of(loss.kind).tells}{where}"
    return Evidence("exact label", leak.receiver, _secret(leak), tuple(edge.id for edge in edges), says)


def _secret(leak: Leak) -> tuple[SecretSource, ...]:
    """The labels that the receiver does not own."""
    return tuple(label for label in leak.score.labels if label.party != leak.receiver)


def single_rows(analysis: Analysis) -> Iterator[Evidence]:
    """Sums over a batch of one row are that row's."""
    model = analysis.model
    if model.train.batch > 1:
        return
    for edge in model.edges:
        node = analysis.node(edge)
        secrets = tuple(source for source in node.sources if source.party != edge.target)
        if edge.phase == "backward" and not node.type.batched and secrets and not analysis.private(edge):
            says = f"`{edge.id}` is a sum over the batch, and a batch has one row: it is that row's gradient"
            yield Evidence("one row", edge.target, secrets, (edge.id,), says)


def table_rows(analysis: Analysis) -> Iterator[Evidence]:
    """Rows of a shared table that have a gradient are the ids that occurred."""
    model = analysis.model
    graph, users = model.graph, model.graph.users()
    for edge in model.edges:
        if edge.phase != "backward" or edge.gradient_of is None or analysis.private(edge):
            continue
        table = graph[edge.gradient_of]
        readers = [n for n in users[table.id] if reads_rows(n) and n.phase == "forward"]
        ids = {s for n in readers for s in graph[n.inputs[1]].sources if s.party != edge.target}
        if table.op == "weight" and ids:
            says = f"`{edge.id}` has rows that are not 0 for the values that the batch holds"
            yield Evidence("ids", edge.target, tuple(sorted(ids, key=str)), (edge.id,), says)


def end_findings(analysis: Analysis) -> Iterator[Found]:
    """The end of the model at a party with features and without the labels."""
    model = analysis.model
    ends = {score.node for score in analysis.scores if _is_elsewhere(model, score)}
    seen: set[str] = set()
    for leak in analysis.leaks if ends else ():
        score = model.graph[leak.score.node]
        if score.id not in ends or score.id in seen or leak.receiver != score.place or leak.score.guarded:
            continue
        seen.add(score.id)
        holder = ", ".join(sorted(owners(leak.score.labels)))
        yield Found(
            "VFL0325",
            tuple(e for e in model.edges if e.id in leak.edges),
            f"{leak.receiver} computes `{score.id}`, the end of the model of {holder}: it can complete the "
            f"model, and use it, without {holder}",
            score.span,
            f"compute it at {holder}, or at a party without data",
        )


def _is_elsewhere(model: Partitioned, score: ScoreBesideLabels) -> bool:
    """Whether a party with features that does not own all labels computes the end of the model."""
    party = model.party(model.graph[score.node].place or "")
    if party is None or owners(score.labels) <= {party.name}:
        return False
    return any(column.kind == "feature" for column in party.columns)
