"""Who may learn what of the users of a population: the hub, and users of each other."""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace
from vflc_common.words import PROGRAMS

from vflc.diagnostics import DiagnosticCollector
from vflc.ir.release import Guard
from vflc.ir.stages import Disclosed, Told, Vectorised
from vflc.passes.learn.bounds import learned
from vflc.passes.learn.flow import Secret
from vflc.passes.learn.granted import check_denials, check_grants
from vflc.passes.learn.label_features import check_features
from vflc.passes.learn.received import Received, Route
from vflc.passes.properties import GRAPH, PHASES, VECTORISED


class LearnOfUsers:
    """The pass. In: a vectorised population with its gradients. Out: `learned`, against what is granted."""

    name: ClassVar = "learn-of-users"
    requires: ClassVar = (*GRAPH, VECTORISED, PHASES)
    ensures: ClassVar = GRAPH

    def __call__(self, model: Vectorised, collector: DiagnosticCollector) -> Vectorised:
        check_features(model, model.graph, collector)
        reaching = received_of_users(model)
        check_denials(model, reaching, collector)
        check_grants(_without_epsilon(model, collector), reaching, collector)
        return replace(model, disclosed=Disclosed(tell=lambda: Told(learned=learned(model, reaching))))


def _without_epsilon(model: Vectorised, collector: DiagnosticCollector) -> Vectorised:
    """The model with its grants of ε reported, and as if they had no bound.

    No ε holds for the hub, which is sent what each user asks for and changes. That of the noise is of one
    run, and nothing adds up over runs what users have cost, as a party's ledger does.
    """
    population = model.population
    for grant in (grant for release in model.releases for grant in release.grants):
        if grant.epsilon is None:
            continue
        what = f"`to {grant.receiver}: {grant.column}` grants it without a bound"
        if grant.receiver == population.hub:
            text = f"{grant.receiver} receives what each user asks for and changes, before any noise"
            help = f"{what} and trusts its owner; `noise` bounds what other users learn"
        elif population.config.noise > 0:
            text = "the ε of a population's noise is for one run, and nothing adds up runs"
            help = f"{what}; `privacy` in `metrics.json` has the ε of each run"
        else:
            text = "what a user changes reaches the weights that other users see without noise"
            help = f"{what}; `noise`, `clip_norm` and `noise_delta` in `train` give each run an ε"
        collector.error(
            "VFL0349", f"no ε is proven for {grant.party}.{grant.column} towards {grant.receiver}: {text}",
            grant.span, help,
        )  # fmt: skip
    releases = tuple(
        replace(release, grants=tuple(replace(grant, epsilon=None) for grant in release.grants))
        for release in model.releases
    )
    return replace(model, releases=releases)


def received_of_users(model: Vectorised) -> dict[str, Received]:
    """What reaches the hub of a user, and users of other users: these are named as the population is.

    The hub sees each user's rows asked for and changes; users see what the hub makes of all changes.
    Local weights are rebuilt from a user's own rows, and changes of global ones are computed with
    them, so that a change depends on all that the losses do. Noise on the sum is no bound on what the
    hub, which adds it, learns; users see the noisy sum alone.
    """
    population, client = model.population, model.client
    trained = {s for loss in model.losses for s in model.graph[loss.node].sources}
    asked = {
        (f"{ids.table}.ids", source)
        for ids in client.ids
        if _is_shared(model, ids.table)
        for name in ids.features
        for source in model.graph[name].sources
    }
    shared = [n.id for n in model.graph if n.op == "weight" and _is_shared(model, n.id)]
    hub: dict[Secret, tuple[Route, ...]] = {}
    users: dict[Secret, tuple[Route, ...]] = {}
    for source in sorted({*trained, *(source for _, source in asked)}, key=str):
        edges = sorted(edge for edge, of in asked if of == source)
        asking = [Route(edge, program) for edge in edges for program in PROGRAMS]
        changes = [Route(f"{name}.delta", PROGRAMS[0]) for name in shared] if source in trained else []
        hub[Secret(source)] = (*asking, *changes)
        if source in trained:
            noisy = population.config.noise > 0
            guard = _noise(population.place, population.config.noise_delta) if noisy else None
            ways = tuple(Route(name, program) for program in PROGRAMS for name in shared)
            users[Secret(source, guard.id if guard else None, guard)] = ways
    return {population.hub: hub, population.place: users}


def _is_shared(model: Vectorised, weight: str) -> bool:
    return model.population.scope_of(weight) == "global"


def _noise(place: str, delta: float | None) -> Guard:
    """The hub's noise on the sum of all changes, as a mechanism: the ε is of the run, as it has the users."""
    options = {"epsilon": None, "delta": delta}
    return Guard("noise", place, "forward", (), (), "proven", "", "noise", options=options)
