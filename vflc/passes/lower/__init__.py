"""Tree to graph: names resolved, blocks expanded, shapes, dtypes and sources inferred.

In: a tree. Out: a `Lowered` whose graph has places only where the spec demands them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.budget import MOST_TERMS, Budget
from vflc.ir.build import Build
from vflc.ir.graph import Graph
from vflc.ir.model import Loss, PartyInfo
from vflc.ir.release import Protection
from vflc.ir.stages import Lowered
from vflc.ops import infer
from vflc.ops.penalty import PENALTIES
from vflc.passes.lower.calls import call
from vflc.passes.lower.columns import lower_party
from vflc.passes.lower.evaluate import Evaluator, Stop
from vflc.passes.lower.frozen import frozen
from vflc.passes.lower.keys import check_keys, check_protections, key_parts
from vflc.passes.lower.metrics import check_metrics, measured
from vflc.passes.lower.modules import NO_FILES, Modules
from vflc.passes.lower.objective import lower_objectives
from vflc.passes.lower.population import lower_population
from vflc.passes.lower.predictions import bind_prediction, check_inputs, lower_predict
from vflc.passes.lower.release import lower_accept, lower_release
from vflc.passes.lower.settings import check_drop, lower_train
from vflc.passes.lower.terms import check_terms
from vflc.passes.lower.values import LazyValue, Scope
from vflc.syntax import tree

UNSUPPORTED: dict[type, str] = {
    tree.ScheduleStatement: "`schedule`",
}


def lower(
    spec: tree.Spec,
    name: str,
    folder: Path | None,
    collector: DiagnosticCollector,
    files: Mapping[Path, str] = NO_FILES,
) -> Lowered | None:
    """The model that a spec describes, or None after mistakes, which are in `collector`.

    Args:
        spec: the tree.
        name: of the model.
        folder: where the spec lies, and what it uses.
        collector: of mistakes.
        files: texts of specs that stand for what lies there on a disk.
    """
    _refuse_unsupported(spec, collector)
    modules = Modules(collector, folder, files)
    scope = Scope()
    modules.open(spec, scope, folder)
    ev = Evaluator(Build(Graph(), infer, budget=Budget()), collector, call)
    try:
        return _lower(spec, name, scope, modules, ev)
    except Stop:
        return None
    except RecursionError:
        help = "define a name before the names that use it"
        collector.error(
            "VFL0206",
            "the definitions depend on each other through too many levels",
            ev.innermost or spec.span,
            help,
        )
        return None


def _refuse_unsupported(spec: tree.Spec, collector: DiagnosticCollector) -> None:
    """What the language has and this version does not: said, never accepted and ignored."""
    for item in spec.items:
        what = UNSUPPORTED.get(type(item))
        if isinstance(item, tree.Train) and item.mode is not None and item.mode.text != "reconstruct":
            what = f"`train {item.mode.text}`"
        if what:
            collector.error(
                "VFL0502",
                f"{what} is not supported in this version",
                item.span,
                "remove it",
            )


def _lower(spec: tree.Spec, name: str, scope: Scope, modules: Modules, ev: Evaluator) -> Lowered | None:
    collector = ev.collector
    parties = _parties(spec, scope, modules, ev)
    _bindings(spec, scope, modules, parties, collector)
    train = next((i for i in spec.items if isinstance(i, tree.Train) and i.mode is None), None)
    config = lower_train(ev, train, scope, parties)
    check_drop(ev, train, list(parties), [party.name for party in parties.values() if party.missing])
    population = lower_population(ev, spec, parties, scope)
    penalised: list[LazyValue] = []
    plain: list[LazyValue] = []
    for bound in scope.names.values():
        (penalised if bound.expr is not None and _is_penalised(bound.expr) else plain).append(bound)
    for bound in plain:
        ev.force(bound, scope)
    wanted = [item for item in spec.items if isinstance(item, tree.Predict)]
    if len(wanted) > MOST_TERMS:
        message = f"the spec has more than {MOST_TERMS} predictions"
        ev.error(
            "VFL0206",
            message,
            wanted[MOST_TERMS].span,
            "combine them into one prediction with several numbers",
        )
        raise Stop
    predicted = [found for item in wanted for found in lower_predict(ev, item, scope)]
    for bound in penalised:  # last: a penalty on a table covers the rows that the whole graph reads
        ev.force(bound, scope)
    losses = lower_objectives(ev, [i for i in spec.items if isinstance(i, tree.Objective)], scope)
    if population is not None:
        _no_whole_tables(ev)
        _only_the_seed(ev)
    bound_predictions = [bind_prediction(ev, found, losses, parties) for found in predicted]
    check_inputs(ev, predicted)
    trained = next((i for i in spec.items if isinstance(i, tree.Train)), None)
    wanted_metrics = config.metrics if population is None else population.config.metrics
    predictions = measured(ev, trained, wanted_metrics, [p for p in bound_predictions if p], parties)
    _whole(spec, parties, collector)
    if collector.errors:
        return None
    graph, ids = _renamed(ev)
    losses = tuple(
        replace(
            loss,
            node=ids(loss.node),
            logit=loss.logit and ids(loss.logit),
            label=loss.label and ids(loss.label),
            weight=loss.weight and ids(loss.weight),
            whole=tuple(map(ids, loss.whole)),
        )
        for loss in losses
    )
    predictions = tuple(
        replace(p, node=ids(p.node), label=p.label and ids(p.label), weight=p.weight and ids(p.weight))
        for p in predictions
    )
    assigns = tuple((ids(weight), ids(value)) for weight, value in ev.build.assigns)
    fits = tuple(
        replace(
            fit,
            weight=ids(fit.weight),
            counts=ids(fit.counts),
            feature=ids(fit.feature),
            label=ids(fit.label),
        )
        for fit in ev.build.fits
    )
    _trainable(graph, losses, collector)
    graph, assigns = frozen(graph, assigns, config, collector)
    releases = [
        lower_release(ev, i, scope, parties, ids) for i in spec.items if isinstance(i, tree.ReleaseStatement)
    ]
    check_terms([each for each in releases if each], parties.values(), collector)
    accepted = [
        lower_accept(ev, i, scope, tuple(parties), ids) for i in spec.items if isinstance(i, tree.Accept)
    ]
    protects = [item for item in spec.items if isinstance(item, tree.Protect)]
    protections: list[Protection | None] = []
    if protects:
        from vflc.passes.lower.protect import lower_protect  # few specs need it

        protections += [
            lower_protect(ev, item, scope, tuple(parties), ids, number + 1)
            for number, item in enumerate(protects)
        ]
        check_protections(ev, [each for each in protections if each is not None], parties)
    check_metrics(ev, trained, predictions)
    return Lowered(
        name=name,
        graph=graph,
        parties=tuple(parties.values()),
        losses=losses,
        predictions=predictions,
        assigns=assigns,
        train=config,
        fits=fits,
        population=population,
        releases=tuple(release for release in releases if release),
        acceptances=tuple(acceptance for acceptance in accepted if acceptance),
        protections=tuple(protection for protection in protections if protection),
        plugins=dict(sorted(ev.plugins.items())),
    )


def _parties(spec: tree.Spec, scope: Scope, modules: Modules, ev: Evaluator) -> dict[str, PartyInfo]:
    constants = Scope(parent=scope)
    for item in spec.items:  # encoders may use numbers bound anywhere: hash(BINS)
        if isinstance(item, tree.Binding) and isinstance(item.value, (tree.Number, tree.String, tree.ListOf)):
            constants.names.setdefault(
                item.name.text, LazyValue(item.name.text, item.name.span, item.value, None)
            )
    parties: dict[str, PartyInfo] = {}
    for item in spec.items:
        if isinstance(item, tree.Party):
            if item.name.text not in parties:
                info, value = lower_party(ev, item, constants, modules.folder)
                parties[item.name.text] = info
                modules.bind(scope, LazyValue.known(item.name.text, item.name.span, value))
            else:
                modules.bind(scope, LazyValue.known(item.name.text, item.name.span, None))
    parties = key_parts(parties)
    check_keys(ev, parties)
    return parties


def _bindings(
    spec: tree.Spec,
    scope: Scope,
    modules: Modules,
    parties: Mapping[str, PartyInfo],
    collector: DiagnosticCollector,
) -> None:
    """Binds top-level names and those inside fuses, each with its demanded place."""

    def check(place: tree.Name) -> str | None:
        if place.text in parties:
            return place.text
        collector.error(
            "VFL0403",
            f"there is no party `{place.text}`",
            place.span,
            f"the parties are {', '.join(parties) or 'none'}; to add a party without data, "
            f"write: party {place.text} {{}}",
        )
        return None

    for item in spec.items:
        if isinstance(item, tree.Binding):
            place = check(item.at) if item.at else None
            if (
                item.scope is not None
            ):  # says where weights live; what is computed with them runs at the users
                place = None
            modules.bind(scope, LazyValue(item.name.text, item.name.span, item.value, place))
        elif isinstance(item, tree.Fuse):
            fused = check(item.place)
            for binding in item.body:
                place = check(binding.at) if binding.at else fused
                modules.bind(scope, LazyValue(binding.name.text, binding.name.span, binding.value, place))
        elif isinstance(item, tree.Predict) and item.at:
            check(item.at)


def _no_whole_tables(ev: Evaluator) -> None:
    """Users of a population have the rows of global tables that they read, and no others."""
    for term in ev.build.losses:
        if any(ev.build.graph[name].attrs["table"] for name in term.whole):
            span = ev.build.graph[term.node_id].span
            text = "a user holds only the rows it reads, but this penalty needs all of them"
            ev.collector.error("VFL0150", text, span, "remove `rows = all`")


def _only_the_seed(ev: Evaluator) -> None:
    """Weights of a population start from the seed at every user."""
    node = next((node for node in ev.build.graph if "values" in node.attrs), None)
    if node is not None:
        text = "a block of an ONNX file is not supported in a population in this version"
        ev.collector.error("VFL0502", text, node.span, "write its layers in the spec")
    for fit in ev.build.fits[:1]:
        text = "`woe` is not supported in a population in this version: no user has the label of all rows"
        ev.collector.error("VFL0502", text, ev.build.graph[fit.weight].span, "use `embed(…, dim = 1)`")


def _is_penalised(expr: tree.Expr) -> bool:
    """Whether an expression calls `l1` or `l2` anywhere: few have the letters."""
    text = expr.span.text
    return any(name in text for name in PENALTIES) and _has_penalty(expr)


def _has_penalty(part: Any) -> bool:
    """Whether an expression calls `l1` or `l2` anywhere."""
    if (
        isinstance(part, tree.Call)
        and isinstance(part.function, tree.Ref)
        and part.function.name in PENALTIES
    ):
        return True
    if isinstance(part, tuple):
        return any(_has_penalty(item) for item in part)
    slots = getattr(part, "__slots__", ()) if type(part).__module__ == tree.__name__ else ()
    return any(_has_penalty(getattr(part, slot)) for slot in slots if slot not in ("span", "name"))


def _whole(spec: tree.Spec, parties: Mapping[str, PartyInfo], collector: DiagnosticCollector) -> None:
    """Reports what a complete spec cannot lack."""
    if not parties:
        collector.error(
            "VFL0109", "the spec has no party", spec.span, "declare the parties: party alice { … }"
        )
    for kind, what, help in (
        (tree.Objective, "objective", "say what to minimise: objective bce(logit, bob.liked)"),
        (tree.Predict, "prediction", "say what to predict: predict liked = sigmoid(logit)"),
    ):
        if not any(isinstance(item, kind) for item in spec.items):
            collector.error("VFL0109", f"the spec has no {what}", spec.span, help)
    for again in [item for item in spec.items if isinstance(item, tree.Train)][1:]:
        collector.error("VFL0102", "`train` is given twice", again.span)


def _renamed(ev: Evaluator) -> tuple[Graph, Any]:
    """The graph with values and weights called by their bindings' paths."""
    mapping = {old: new for old, new in ev.aliases.items() if new not in ev.build.graph}

    def rename(name: str) -> str:
        return mapping.get(name, name)

    graph = Graph()
    for node in ev.build.graph:
        if node.id in mapping or not mapping.keys().isdisjoint(node.inputs):
            attrs = {**node.attrs, "name": rename(node.id)} if node.op == "weight" else node.attrs
            node = replace(node, id=rename(node.id), inputs=tuple(map(rename, node.inputs)), attrs=attrs)
        graph.add(node)
    return graph, rename


def _trainable(graph: Graph, losses: tuple[Loss, ...], collector: DiagnosticCollector) -> None:
    for loss in losses:
        above = graph.ancestors([loss.node])
        if not any(graph[n].op == "weight" and graph[n].attrs["trainable"] for n in above):
            collector.error(
                "VFL0404",
                "this term of the objective depends on no weight",
                loss.span,
                "use something with weights, such as dense, embed or weight",
            )


__all__ = ["lower"]
