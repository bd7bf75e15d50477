"""Mechanisms on activations and labels, put into the graph before it is differentiated.

In: a placed graph. Out: the same with `guards`. What leaves a protected value's place is what its
mechanism makes of it; at its own place the value stays as it is. Gradients then flow through
clipping by the rules of the ops it is made of, and clipping holds outside of training, too.
"""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace
from vflc_common.words import PROGRAMS

from vflc.diagnostics import DiagnosticCollector
from vflc.diagnostics.suggest import did_you_mean
from vflc.ir.build import Build
from vflc.ir.graph import Graph
from vflc.ir.release import Protection
from vflc.ir.stages import Placed
from vflc.ops import infer
from vflc.ops.mechanisms import MECHANISMS
from vflc.passes.protect.joint import (
    GuardedValues,
    ProtectionChain,
    called,
    covers_rows,
    fresh,
    guard_of,
    named,
    readers_elsewhere,
    rewired,
    warn_of_nothing_saved,
)
from vflc.passes.protect.labels import guard_labels
from vflc.passes.protect.sums import guard_sum, measured_elsewhere


def protected(model: Placed, collector: DiagnosticCollector) -> Placed:
    """The model with what protects its values on their way, and its labels."""
    work = _Activations(model, collector)
    for protection in model.protections:
        role = MECHANISMS[protection.mechanism].role
        if role == "labels":
            work.model = guard_labels(work.model, protection, collector)
        elif protection.target.gradients_to is None and role != "weights":
            work.protect(protection)
    return work.model


class _Activations(Struct):
    model: Placed
    collector: DiagnosticCollector
    now: dict[str, str] = field(default_factory=dict)
    """Of a protected value what crosses in its place."""
    chain: ProtectionChain = field(default_factory=lambda: ProtectionChain({}))

    def protect(self, protection: Protection) -> None:
        """Guards the values that the target names, at each of their places."""
        protection = _in_all_phases(protection)
        graph, mechanism = self.model.graph, MECHANISMS[protection.mechanism]
        found = self._crossing(protection)
        if not found:
            return
        if "activations" not in mechanism.applies:
            self.collector.error(
                "VFL0333",
                f"`{mechanism.name}` is for {' and '.join(sorted(mechanism.applies))}, "
                f"but `{protection.target.text}` is an activation",
                protection.span,
                "as in: protect gradients to PARTY with " + mechanism.name,
            )
        elif covers_rows((graph[name] for name in found), protection, self.collector) and self.chain.follows(
            found, protection, self.collector
        ):
            if mechanism.role == "sum":
                self.model = guard_sum(self.model, protection, found, self.collector)
                self.chain.role |= dict.fromkeys(found, protection)
                return
            warn_of_nothing_saved((graph[name] for name in found), protection, self.collector)
            places = dict.fromkeys(str(graph[name].place) for name in found)
            for place in places:
                values = [name for name in found if graph[name].place == place]
                self._guard(protection, place, values, alone=len(places) == 1)

    def _crossing(self, protection: Protection) -> list[str]:
        """What crosses now of the values that the target names, in order of the graph."""
        target, graph = protection.target, self.model.graph
        crossing = [name for name in graph.nodes if name in self._leaving()]
        first = {after: before for before, after in self.now.items()}
        if not target.values:  # the gradient's edges have names, too: they are looked up when they are there
            return named(target.text, crossing)
        found = [name for name in crossing if first.get(name, name) in target.values]
        if not found:
            leaving = [name for name in crossing if graph[name].sources and graph[name].type.batched]
            self.collector.error(
                "VFL0331",
                f"`{target.text}` does not leave its place, so there is nothing to protect",
                protection.span,
                f"what leaves is {', '.join(f'`{name}`' for name in leaving[:8]) or 'nothing'}",
            )
        return found

    def _leaving(self) -> set[str]:
        found = set(readers_elsewhere(self.model.graph))
        return found | {node for node, _ in measured_elsewhere(self.model.graph, self.model.predictions)}

    def _guard(self, protection: Protection, place: str, values: list[str], alone: bool) -> None:
        mechanism, model = MECHANISMS[protection.mechanism], self.model
        guard = protection.id if alone else f"{protection.id}.{place}"
        graph = Graph(dict(model.graph.nodes))
        rows = GuardedValues(Build(graph, infer, (guard,), place, span=protection.span), guard, [], [])
        made = rows.apply([graph[name] for name in values], mechanism, protection)
        pairs = [
            (name, called(rows.build, node, fresh(graph, f"{self._origin(name)}.protected")).id)
            for name, node in zip(values, made, strict=True)
        ]
        after = dict(pairs)
        self.now |= {self._origin(name): new for name, new in pairs}
        self.chain.role |= dict.fromkeys(after.values(), protection)
        changed = {
            node.id: replace(node, inputs=tuple(after.get(name, name) for name in node.inputs))
            for node in graph
            if node.place != place and any(name in after for name in node.inputs)
        }
        training_alone = protection.options.get("passes") is None
        step = guard_of(
            protection, guard, place, "forward", tuple(values), tuple(after.values()),
            keeps=tuple(rows.keeps), programs=PROGRAMS[:1] if training_alone else PROGRAMS,
        )  # fmt: skip
        self.model = replace(
            _renamed(model, after, place),
            graph=rewired(graph, changed),
            guards=(*model.guards, step),
        )

    def _origin(self, name: str) -> str:
        return next((before for before, after in self.now.items() if after == name), name)


def _in_all_phases(protection: Protection) -> Protection:
    """Noise on an activation is there in all phases unless the spec limits it, for so many passes."""
    options, passes = protection.options, MECHANISMS[protection.mechanism].passes
    if passes is None or protection.training or options["passes"] is not None:
        return protection
    return replace(protection, options={**options, "passes": passes})


def _renamed(model: Placed, after: dict[str, str], place: str) -> Placed:
    """Predictions that are measured elsewhere and logits of losses elsewhere are what crosses."""
    measured = dict(measured_elsewhere(model.graph, model.predictions))
    return replace(
        model,
        predictions=tuple(
            replace(p, node=after[p.node]) if p.node in after and p.node in measured else p
            for p in model.predictions
        ),
        losses=tuple(
            replace(loss, logit=after[loss.logit])
            if loss.logit in after and model.graph[loss.node].place != place
            else loss
            for loss in model.losses
        ),
    )


def unknown_edge(protection: Protection, ids: list[str], collector: DiagnosticCollector) -> None:
    """Reports a target that names no value and no edge."""
    near = did_you_mean(protection.target.text, ids)
    shown = ", ".join(f"`{name}`" for name in ids[:8])
    collector.error(
        "VFL0330",
        f"there is no value or edge `{protection.target.text}`",
        protection.target.span,
        f"did you mean `{near}`?" if near else f"the edges are {shown or 'none'}",
    )
