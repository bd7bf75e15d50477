"""Which optimizer updates which weight, and the gradients as updates want them.

In: a differentiated graph. Out: `updates`, and in the graph the flat gradients they read.

The dense weights of one place and optimizer lie in one flat buffer, so that an update is a
handful of operators over one array instead of a handful for each weight. A table is updated by
the rows that the batch touched.
"""

from __future__ import annotations

from collections import defaultdict
from typing import ClassVar

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import Graph
from vflc.ir.model import Gradient, OptimizerRule, TrainConfig, Update, matches, names_of
from vflc.ir.stages import Differentiated, Optimized
from vflc.ops import infer
from vflc.ops.missed import LARGEST_RATIO, Sum
from vflc.ops.optimizers import OPTIMIZERS
from vflc.passes.levels import levels
from vflc.passes.properties import DIFFERENTIATED, GRAPH, PLACED, UPDATED


def rule_for(train: TrainConfig, weight: str) -> OptimizerRule:
    """The first rule whose pattern names the weight or a part of the model above it, else the one for all."""
    for rule in train.optimizers:
        if rule.patterns and any(matches(pattern, weight) for pattern in rule.patterns):
            return rule
    return next(rule for rule in train.optimizers if not rule.patterns)


class Optimize:
    """The pass."""

    name: ClassVar = "optimize"
    requires: ClassVar = (*GRAPH, PLACED, DIFFERENTIATED)
    ensures: ClassVar = (*GRAPH, PLACED, UPDATED)

    def __call__(self, model: Differentiated, collector: DiagnosticCollector) -> Optimized:
        _check_patterns(model, collector)
        _check_rows(model, collector)
        graph = Graph(dict(model.graph.nodes))
        build = Build(graph, infer, phase="backward")
        dense: dict[tuple[str, str, int], list[Gradient]] = defaultdict(list)
        updates: list[Update] = []
        depth = levels(graph)
        for gradient in model.gradients:
            weight = graph[gradient.weight]
            assert weight.place is not None
            rule = rule_for(model.train, _name(model, gradient.weight))
            if gradient.dense is None:
                updates.append(
                    Update(f"rows.{weight.id}", weight.place, rule.id, (weight.id,), pairs=gradient.rows)
                )
            else:
                dense[weight.place, rule.id, depth[gradient.dense]].append(gradient)
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for (place, rule_id, _), gradients in sorted(dense.items()):
            counts[place, rule_id] += 1
            suffix = "" if counts[place, rule_id] == 1 else f".{counts[place, rule_id]}"
            update_id = f"dense.{place}.{rule_id}{suffix}"
            flat = _flat(build, gradients, update_id, place)
            updates.append(
                Update(update_id, place, rule_id, tuple(g.weight for g in gradients), gradient=flat)
            )
        _check_penalties(model, collector)
        return Optimized.of(model, graph=graph, updates=tuple(updates))


def _name(model: Differentiated, weight: str) -> str:
    return names_of(model.graph[weight])[0]


def _flat(build: Build, gradients: list[Gradient], update_id: str, place: str) -> str:
    pieces = []
    with build.within(scope=(update_id,), place=place):
        for gradient in gradients:
            assert gradient.dense is not None
            value = build.graph[gradient.dense]
            pieces.append(build.op("reshape", value, sizes=(value.type.row_size,), names=(None,)))
        return build.op("concat", *pieces, axis=0).id if len(pieces) > 1 else pieces[0].id


def _check_rows(model: Differentiated, collector: DiagnosticCollector) -> None:
    """Refuses rules by which what a row of a table missed has no sum."""
    weights = {gradient.weight for gradient in model.gradients if gradient.dense is None}
    for rule in {(r := rule_for(model.train, _name(model, weight))).id: r for weight in weights}.values():
        if rule.penalty:  # these steps are gone through one by one
            continue
        with OPTIMIZERS.using(rule.name) as optimizer:
            sums = [each for each in optimizer.missed(rule.options).values() if isinstance(each, Sum)]
        if any(each.ratio > LARGEST_RATIO for each in sums):
            collector.error(
                "VFL0208",
                f"`{rule.name}` on rows of tables: beta1 is {sums[0].ratio:.4g} times the square root of "
                "beta2",
                rule.span,
                "choose `beta1` below the square root of `beta2`, or set `lazy = true`, which leaves "
                "unread rows alone",
            )


def _check_penalties(model: Differentiated, collector: DiagnosticCollector) -> None:
    """Refuses penalties on all rows of tables that no update changes."""
    learning = {name for gradient in model.gradients for name in names_of(model.graph[gradient.weight])}
    for rule in model.train.optimizers:
        for name in rule.patterns if rule.penalty else ():
            if name not in learning:
                message = f"no loss trains `{name}`, so a penalty on all its rows would not change it"
                help = "remove the penalty, or use the table in a loss"
                collector.error("VFL0150", message, rule.penalty.span, help)


def _check_patterns(model: Differentiated, collector: DiagnosticCollector) -> None:
    found = dict.fromkeys(name for node in model.graph if node.op == "weight" for name in names_of(node))
    names = list(found)
    for rule in model.train.optimizers:
        for pattern in rule.patterns:
            if not any(matches(pattern, name) for name in names):
                collector.error(
                    "VFL0101",
                    f"`{pattern}` matches no weight",
                    rule.span,
                    f"the weights are {', '.join(names[:8])}{' …' if len(names) > 8 else ''}",
                )
