"""Findings about gradients: labels given away exactly, unprotected gradients, sums over one row."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from vflc.diagnostics import Label, Span
from vflc.ir.model import Edge
from vflc.passes.disclosure.analysis import Analysis, Leak, owners
from vflc.passes.disclosure.found import Found

CLASSIFIES = ("bce", "cce", "penalty")
"""Losses whose labels are classes, as far as the compiler knows; one written by hand may be."""

TELLS = {
    "bce": "its sign is the label, row by row",
    "cce": "its direction is the class, row by row",
    "mse": "it is the difference of prediction and label, row by row",
    "mae": "its sign tells on which side of the prediction the label lies, row by row",
    "huber": "it tells the difference of prediction and label, row by row",
    "penalty": "it is the derivative of one example's loss, row by row",
}
MOST_LABELS = 6
"""Places in the text that one finding points at."""


def leak_findings(analysis: Analysis) -> Iterator[Found]:
    """One for every receiver and term of the objective: exact where a coefficient allows it."""
    for leak in analysis.leaks:
        edges = [e for e in analysis.model.edges if e.id in leak.edges]
        bare = [edge for edge in edges if not analysis.private(edge)]
        if leak.score.guarded or not bare:
            continue
        exact = [edge for edge in bare if not leak.edges[edge.id].unknown]
        if exact and leak.exact:
            yield _exact(analysis, leak, exact)
        elif leak.score.loss.kind in CLASSIFIES:
            yield _unprotected(analysis, leak, bare)


def _exact(analysis: Analysis, leak: Leak, edges: list[Edge]) -> Found:
    loss, first = leak.score.loss, edges[0]
    coefficient = leak.edges[first.id]
    how = {
        "same for all rows": "times a factor that is the same for all rows",
        "known sign": "times a factor whose sign is the same for all rows",
        "known by row": f"times a factor that {leak.receiver} knows",
    }[coefficient.words]
    where = " wherever it is not 0" if coefficient.zeros else ""
    labels = ", ".join(map(str, leak.score.labels))
    return Found(
        "VFL0310",
        tuple(edges),
        f"{leak.receiver} gets `{first.id}`, the derivative of the loss {loss.name} {how}: "
        f"{TELLS.get(loss.kind, TELLS['penalty'])}{where}, and gives away {labels}",
        _span(analysis, first),
        f"protect gradients to {leak.receiver} with marvell(sum_kl = 0.25); "
        f"or put a nonlinear layer between this and the loss; "
        f'or `accept VFL0310 on gradients to {leak.receiver} because "…"`',
        _path(analysis, leak, first),
    )


def _unprotected(analysis: Analysis, leak: Leak, edges: list[Edge]) -> Found:
    labels = ", ".join(map(str, leak.score.labels))
    return Found(
        "VFL0320",
        tuple(edges),
        f"gradients of the loss {leak.score.loss.name} go to {leak.receiver} unprotected: "
        f"their norms and directions hint at {labels}, most of all where few labels are 1",
        _span(analysis, edges[0]),
        f"protect gradients to {leak.receiver} with marvell(sum_kl = 0.25); `vflc audit` measures the leak",
        _path(analysis, leak, edges[0])[-1:],
    )


def _span(analysis: Analysis, edge: Edge) -> Span | None:
    assert edge.gradient_of is not None
    return analysis.model.graph[edge.gradient_of].span


def _path(analysis: Analysis, leak: Leak, edge: Edge) -> tuple[Label, ...]:
    """From the value that crossed to the label: each place in the text once."""
    model = analysis.model
    graph = model.graph
    labels: list[Label] = []
    last = _span(analysis, edge)
    for name in _way(analysis, leak, edge):
        span = graph[name].span
        if span is not None and span != last:
            labels.append(Label(span, f"`{name}` is computed from it" if not labels else f"then `{name}`"))
            last = span
    if len(labels) > MOST_LABELS - 2:
        labels = labels[:2] + labels[-(MOST_LABELS - 4) :]
    labels.append(Label(leak.score.loss.span, "compared here with the label"))
    source = leak.score.labels[0]
    party = model.party(source.party)
    column = party.column(source.name) if party else None
    if column is not None:
        labels.append(Label(column.span, f"{source} is the secret"))
    return tuple(labels)


def _way(analysis: Analysis, leak: Leak, edge: Edge) -> list[str]:
    """The shortest way from a value to the score, over the named values on it."""
    graph = analysis.model.graph
    users = graph.users()
    assert edge.gradient_of is not None
    before: dict[str, str] = {}
    queue = deque([edge.gradient_of])
    while queue and leak.score.node not in before:
        name = queue.popleft()
        for user in users[name]:
            if user.id in leak.paths and user.id not in before and user.phase == "forward":
                before[user.id] = name
                queue.append(user.id)
    way = []
    name = leak.score.node
    while name in before and name != edge.gradient_of:
        way.append(name)
        name = before[name]
    return way[::-1]


def small_batch_findings(analysis: Analysis) -> Iterator[Found]:
    """Sums over a batch of one row are that row's."""
    model = analysis.model
    if model.train.batch > 1:
        return
    for edge in model.edges:
        node = analysis.node(edge)
        secrets = [source for source in node.sources if source.party != edge.target]
        if edge.phase == "backward" and not node.type.batched and secrets and not analysis.private(edge):
            yield Found(
                "VFL0311", (edge,),
                f"`{edge.id}` is a sum over the batch, and a batch has one row: it is that row's gradient",
                node.span, "train with larger batches: batch 128",
            )  # fmt: skip


def table_findings(analysis: Analysis) -> Iterator[Found]:
    """Rows of a shared table that have a gradient are the ids that occurred."""
    model = analysis.model
    graph, users = model.graph, model.graph.users()
    for edge in model.edges:
        if edge.phase != "backward" or edge.gradient_of is None or analysis.private(edge):
            continue
        table = graph[edge.gradient_of]
        readers = [n for n in users[table.id] if n.op == "gather" and n.phase == "forward"]
        ids = {s for n in readers for s in graph[n.inputs[1]].sources if s.party != edge.target}
        if table.op == "weight" and ids:
            names = ", ".join(sorted(map(str, ids)))
            yield Found(
                "VFL0327", (edge,),
                f"`{edge.id}` has rows that are not 0 for the values of {names} that the batch holds",
                readers[0].span, f"give each party a table of its own, or keep the table at {edge.source}",
            )  # fmt: skip


def compression_findings(analysis: Analysis) -> Iterator[Found]:
    """Compression where the only thing that stands between an edge and its receiver is that."""
    model = analysis.model
    spans = {protection.id: protection for protection in model.protections}
    for guard in model.guards:
        edges = tuple(e for e in model.edges if e.node in guard.after and not analysis.private(e))
        if not guard.private and edges:
            asked = spans[guard.protection]
            yield Found(
                "VFL0324", edges,
                f"{asked.mechanism} makes messages smaller and hides nothing: it is no protection",
                asked.span, "protect it with noise as well, or say why not: `accept VFL0324 on …`",
            )  # fmt: skip


def end_findings(analysis: Analysis) -> Iterator[Found]:
    """The end of the model at a party with features and without the labels."""
    model = analysis.model
    seen: set[tuple[str, str]] = set()
    for leak in analysis.leaks:
        score = model.graph[leak.score.node]
        party = model.party(score.place or "")
        has_features = party is not None and any(column.kind == "feature" for column in party.columns)
        key = (leak.score.node, leak.receiver)
        if leak.receiver != score.place or not has_features or key in seen or leak.score.guarded:
            continue
        seen.add(key)
        holder = ", ".join(sorted(owners(leak.score.labels)))
        yield Found(
            "VFL0325",
            tuple(e for e in model.edges if e.id in leak.edges),
            f"{leak.receiver} computes `{score.id}`, the end of the model of {holder}: it can complete the "
            f"model, and use it, without {holder}",
            score.span,
            f"compute it at {holder}, or at a party without data",
        )
