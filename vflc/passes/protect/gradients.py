"""Mechanisms on gradients, put between what a place computes and what it sends.

In: a differentiated, simplified graph. Out: the same with guards on backward edges. A guard is a
step of its own before the message: it sees the joint row of all that leaves together, whatever
engine computed it. What leaves at another time has a guard of its own.
"""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.build import Build
from vflc.ir.graph import Graph, Node
from vflc.ir.release import Protection
from vflc.ir.stages import Optimized
from vflc.ops import infer
from vflc.ops.loss import rule_of
from vflc.ops.mechanisms import MECHANISMS
from vflc.ops.noise import spent_delta, spent_epsilon
from vflc.passes.cut import crossings
from vflc.passes.levels import levels
from vflc.passes.modes import resolved
from vflc.passes.protect.joint import (
    GuardedValues,
    ProtectionChain,
    called,
    covers_rows,
    fresh,
    guard_of,
    named,
    rewired,
    warn_of_nothing_saved,
)
from vflc.passes.protect.values import unknown_edge


def protected(model: Optimized, collector: DiagnosticCollector) -> Optimized:
    """The model with what protects gradients on their way back."""
    done = {guard.protection for guard in model.guards}
    work = _Gradients(model, collector)
    for protection in model.protections:
        if protection.id not in done and MECHANISMS[protection.mechanism].role != "weights":
            work.protect(protection)
    for protection in model.protections:
        if MECHANISMS[protection.mechanism].accounting == "messages":
            _check_budget(work.model, protection, collector)
    return work.model


class _Gradients(Struct):
    model: Optimized
    collector: DiagnosticCollector
    now: dict[tuple[str, str], str] = field(default_factory=dict)
    """Of a gradient and the place it goes to what crosses in its stead."""
    chain: ProtectionChain = field(default_factory=lambda: ProtectionChain({}))

    def protect(self, protection: Protection) -> None:
        """Guards the gradients that the target names, by the place and the time at which they leave."""
        if not (found := self._crossing(protection)):
            return
        graph, mechanism = self.model.graph, MECHANISMS[protection.mechanism]
        if "gradients" not in mechanism.applies:
            text = f"`{mechanism.name}` is for {_list(mechanism.applies)}; these are gradients"
            self.collector.error(
                "VFL0333", text, protection.span, f"as in: protect VALUE with {mechanism.name}"
            )
            return
        if protection.options.get("passes") is not None:
            text = "gradients cross only in training; `passes` are for evaluation and prediction"
            self.collector.error("VFL0347", text, protection.span, "remove `passes`")
            return
        nodes = [graph[name] for name, _ in found]
        if not covers_rows(nodes, protection, self.collector):
            return
        if not self.chain.follows([name for name, _ in found], protection, self.collector):
            return
        warn_of_nothing_saved(nodes, protection, self.collector)
        depth = levels(graph)
        groups: dict[tuple[str, str, int], list[str]] = {}
        for name, target in found:
            groups.setdefault((str(graph[name].place), target, depth[name]), []).append(name)
        for index, ((place, target, _), values) in enumerate(groups.items()):
            guard = protection.id if len(groups) == 1 else f"{protection.id}.{index + 1}"
            self._guard(protection, guard, place, target, values)

    def _crossing(self, protection: Protection) -> list[tuple[str, str]]:
        """(gradient, place it goes to) of what crosses now; reports a target that names none."""
        target, graph = protection.target, self.model.graph
        crossing = [
            (c.node, c.target) for c in crossings(self.model, "train") if graph[c.node].phase == "backward"
        ]
        if target.gradients_to is not None:
            found = [(name, to) for name, to in crossing if to == target.gradients_to]
            if not found:
                parties = sorted({to for _, to in crossing})
                self.collector.error(
                    "VFL0334",
                    f"no gradients go to {target.gradients_to}",
                    protection.span,
                    f"gradients go to {', '.join(parties)}" if parties else "no gradient crosses at all",
                )
            return found
        origin = {after: before for (before, _), after in self.now.items()}
        chosen = set(named(target.text, [origin.get(name, name) for name, _ in crossing]))
        found = [(name, to) for name, to in crossing if origin.get(name, name) in chosen]
        if not found:
            every = [c.node for c in crossings(self.model, "train")]
            unknown_edge(protection, list(dict.fromkeys(every)), self.collector)
        return found

    def _guard(self, protection: Protection, guard: str, place: str, target: str, values: list[str]) -> None:
        mechanism, graph = MECHANISMS[protection.mechanism], self.model.graph
        nodes = [graph[name] for name in values]
        label = None
        if mechanism.solver is not None and (label := self._label(protection, nodes, place)) is None:
            return
        outer = Graph(dict(graph.nodes))
        origin = {after: before for (before, _), after in self.now.items()}
        bases = [origin.get(name, name) for name in values]
        after = {}
        for node, base in zip(nodes, bases, strict=True):
            made = replace(
                node, id=fresh(outer, f"{base}.protected"), op="guarded",
                inputs=(*values, *([label] if label else [])),
                attrs={"guard": guard, "of": node.attrs.get("of")},
                sources=frozenset().union(*(n.sources for n in nodes)), span=protection.span,
            )  # fmt: skip
            after[node.id] = outer.add(made).id
            self.now[base, target] = made.id
            self.chain.role[made.id] = protection
        inner: Graph | None = None
        keeps: tuple[tuple[str, str], ...] = ()
        if mechanism.apply is not None:
            inner, keeps = _inner(protection, guard, nodes, after)
        self._redirect(outer, after, target)
        step = guard_of(
            protection, guard, place, "backward", tuple(values), tuple(after.values()),
            graph=inner, keeps=keeps, reads=label,
        )  # fmt: skip
        self.model = replace(self.model, guards=(*self.model.guards, step))

    def _redirect(self, graph: Graph, after: dict[str, str], target: str) -> None:
        """What reads the gradients at the target reads what crosses in their stead."""
        changed = {
            node.id: replace(node, inputs=tuple(after.get(name, name) for name in node.inputs))
            for node in graph
            if node.place == target and any(name in after for name in node.inputs)
        }
        self.model = replace(self.model, graph=rewired(graph, changed))

    def _label(self, protection: Protection, nodes: list[Node], place: str) -> str | None:
        """The one binary label that the gradients depend on; reports where there is none at the place."""
        graph = self.model.graph
        labels = sorted({str(source) for node in nodes for source in node.sources if source.label})
        binary = {loss.label for loss in self.model.losses if rule_of(loss.kind).predicted == "binary"}
        if len(labels) == 1 and labels[0] in binary and graph[labels[0]].place == place:
            answered = next((g for g in self.model.guards if labels[0] in g.before), None)
            if answered is None:
                return labels[0]
            self.collector.error(
                "VFL0333",
                f"`{protection.mechanism}` reads the true `{labels[0]}`, which `{answered.mechanism}` hides "
                "behind answers",
                protection.span,
                f"use {_other_noise()}: they need no label",
            )
            return None
        what = " and ".join(f"`{name}`" for name in labels) or "no label"
        self.collector.error(
            "VFL0333",
            f"`{protection.mechanism}` separates the rows of a batch by one label of 0 or 1 at {place}, "
            f"but these gradients depend on {what}",
            protection.span,
            f"use {_other_noise()}: they need no label",
        )
        return None


def _other_noise() -> str:
    """The mechanisms of noise on gradients that need no label, in words."""
    found = [m.name for m in MECHANISMS if m.role == "noise" and "gradients" in m.applies and not m.solver]
    *most, last = (f"`{name}`" for name in found)
    return f"{', '.join(most)} or {last}"


def _check_budget(model: Optimized, protection: Protection, collector: DiagnosticCollector) -> None:
    """Refuses an ε that the epochs of the spec cannot keep, as far as that is known without a run."""
    options, epochs = protection.options, model.train.epochs
    guards = [guard for guard in model.guards if guard.protection == protection.id]
    if options["epsilon"] is None or not guards:
        return
    passes = guards[0].options.get("passes") or 0
    releases = (epochs + passes) * len(guards)
    epsilon, delta, messages = options["epsilon"], options["delta"], f"{epochs} epoch{'s' * (epochs > 1)}"
    messages += f" and {passes} pass{'es' * (passes > 1)} after training" * (passes > 0)
    if options["noise"] is None:
        if spent_delta(epsilon, options["limit"], releases) > delta:
            text = (
                f"no noise up to {options['limit']:g} times the clip reaches ε = {epsilon:g} over {messages}"
            )
            help = "ask for a larger ε or δ, or train for fewer epochs"
            collector.error("VFL0337", text, protection.span, help)
    elif (spent := spent_epsilon(options["noise"], delta, releases)) > epsilon:
        text = f"{messages} with this noise spend ε = {spent:.4g}, but ε = {epsilon:g} is declared"
        help = "remove `noise`, so that it is calibrated, or declare the larger ε"
        collector.error("VFL0312", text, protection.span, help)


def _list(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))


def _inner(
    protection: Protection, guard: str, nodes: list[Node], after: dict[str, str]
) -> tuple[Graph, tuple[tuple[str, str], ...]]:
    """The mechanism as a graph of its own, from the gradients to what crosses."""
    mechanism = MECHANISMS[protection.mechanism]
    build = Build(Graph(), infer, (guard,), nodes[0].place, "backward", protection.span)
    given = [build.graph.add(replace(node, op="feature", inputs=(), attrs={})) for node in nodes]
    rows = GuardedValues(build, guard, [], [])
    for node, made in zip(nodes, rows.apply(given, mechanism, protection), strict=True):
        called(build, made, after[node.id])
    graph = resolved(build.graph, 0)
    wanted = [*after.values(), *(value for _, value in rows.keeps)]
    keep = graph.ancestors(wanted) | {node.id for node in nodes}
    return graph.only(keep), tuple(rows.keeps)
