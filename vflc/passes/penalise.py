"""Penalties on all rows of tables become part of the steps of the optimizer.

In: the graph of a spec, with penalties that read whole tables. Out: the same without these; tables that
have such a penalty follow rules of their own, which add its gradient in every step. An update reads the
rows that the batch reads and no others, and a rule knows what the steps between do to the others.
"""

from __future__ import annotations

from collections import defaultdict
from typing import ClassVar

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import Graph
from vflc.ir.model import Loss, OptimizerRule, Penalty, TrainConfig
from vflc.ir.stages import Lowered
from vflc.ops import infer
from vflc.ops.penalty import PENALTIES, penalty
from vflc.passes.optimize import rule_for
from vflc.passes.properties import GRAPH

CODE = "VFL0150"
ALONE = "remove it: a penalty needs a loss that trains the table"


class Penalise:
    """The pass. Weights that are no tables keep their penalties in the graph."""

    name: ClassVar = "penalise"
    requires: ClassVar = GRAPH
    ensures: ClassVar = GRAPH

    def __call__(self, model: Lowered, collector: DiagnosticCollector) -> Lowered:
        graph = Graph(dict(model.graph.nodes))
        found: dict[str, list[Loss]] = defaultdict(list)
        losses = []
        for loss in model.losses:
            tables = [name for name in loss.whole if graph[name].attrs["table"]]
            others = [name for name in loss.whole if name not in tables]
            for name in tables:
                found[name].append(loss)
            if others and tables:
                losses.append(replace(loss, node=_term(graph, loss, others), whole=tuple(others)))
            elif not tables:
                losses.append(loss)
        if not found:
            return model
        if not losses:
            span = model.losses[0].span
            collector.error(CODE, "the objective is only a penalty on all rows", span, ALONE)
            return model
        rules = {name: _rule(model.train, name, terms, collector) for name, terms in found.items()}
        optimizers = (*_named(rules), *model.train.optimizers)
        return replace(
            model, graph=graph, losses=tuple(losses), train=replace(model.train, optimizers=optimizers)
        )


def _term(graph: Graph, loss: Loss, weights: list[str]) -> str:
    """What is left of a penalty for weights that are no tables."""
    build = Build(graph, infer)
    with build.within(scope=("objective", loss.kind), place=graph[loss.node].place, span=loss.span):
        return penalty(build, loss.kind, loss.strength, [graph[name] for name in weights], "all").id


def _rule(
    train: TrainConfig, weight: str, terms: list[Loss], collector: DiagnosticCollector
) -> OptimizerRule:
    """The rule of a table with the penalties on all its rows."""
    rule = rule_for(train, weight)
    strength = {kind: sum(t.coefficient * t.strength for t in terms if t.kind == kind) for kind in PENALTIES}
    for wrong, why, help in (
        (
            train.clip_norm is not None,
            "`clip_norm` needs the gradient of all rows in every step, but only that of the rows read is "
            "computed",
            "clip with `clip_value`, which works on each number by itself, or remove `rows = all`",
        ),
        (
            rule.options.get("lazy"),
            f"`{rule.name}(lazy = true)` does not change rows that no batch reads, but this penalty does",
            "remove `lazy`, or `rows = all`",
        ),
    ):
        if wrong:
            collector.error(CODE, why, terms[0].span, help)
    return replace(rule, patterns=(weight,), penalty=Penalty(**strength, span=terms[0].span))


def _named(rules: dict[str, OptimizerRule]) -> list[OptimizerRule]:
    """One rule for all tables that have optimizer and penalties in common."""
    groups: dict[tuple[str, Penalty], list[OptimizerRule]] = defaultdict(list)
    for rule in rules.values():
        groups[rule.id, rule.penalty].append(rule)
    made = []
    for number, ((rule_id, _), each) in enumerate(groups.items(), 1):
        patterns = tuple(pattern for rule in each for pattern in rule.patterns)
        made.append(replace(each[0], id=f"{rule_id}_penalised_{number}", patterns=patterns))
    return made
