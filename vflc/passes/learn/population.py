"""Who may learn what of the users of a population: the hub, and users of each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vflc.diagnostics import Collector
from vflc.ir.graph import Source
from vflc.ir.learn import Bound, Learned
from vflc.ir.model import PROGRAMS, Model
from vflc.passes.learn.bounds import Columns, bound_of, declared, made_of
from vflc.passes.learn.columns import table_columns
from vflc.passes.learn.flow import Secret

OTHERS = "other users"
"""The receiver that every user is to every other."""


@dataclass(frozen=True, slots=True)
class LearnOfUsers:
    """The pass. In: a vectorised population with its gradients. Out: `learned`."""

    name: str = "learn of users"

    def __call__(self, model: Model, collector: Collector) -> Model:
        return replace(model, learned=learned_of_users(model))


def learned_of_users(model: Model) -> tuple[Learned, ...]:
    """The hub sees each user's rows asked for and changes; users see what the hub makes of all changes.

    Local weights are rebuilt from a user's own rows, and changes of global ones are computed with
    them, so that a change depends on all that the losses do. Noise on the sum is no bound on what the
    hub, which adds it, learns; users see the noisy sum alone.
    """
    population, visit = model.population, model.visit
    assert population is not None and visit is not None
    users = model.party(population.place)
    assert users is not None
    trained = {s for loss in model.losses for s in model.graph[loss.node].sources}
    asked = {s for ids in visit.ids for name in ids.features for s in model.graph[name].sources}
    noisy, columns = population.config.noise > 0, declared(model)
    found = []
    for receiver in (population.hub, OTHERS):
        for column in dict.fromkeys(n for info in users.columns for n in table_columns(info)):
            by_training, by_asking = (_of(column, sources, columns) for sources in (trained, asked))
            if receiver == population.hub:
                secrets, programs = by_training | by_asking, PROGRAMS if by_asking else PROGRAMS[:1]
            else:
                secrets, programs = by_training, PROGRAMS
            bound = bound_of(secrets, columns)
            if noisy and secrets and receiver == OTHERS:
                bound = Bound("epsilon", None, None, population.config.noise_delta or 0.0)
            edges = _edges(model, columns, receiver, column) if secrets else ()
            found.append(Learned(receiver, users.name, column, bound, edges, programs if secrets else ()))
    return tuple(found)


def _of(column: str, sources: set[Source], columns: Columns) -> set[Secret]:
    """What of some secrets is made of a column of the table."""
    return {Secret(source) for source in sources if column in made_of(source, columns)}


def _edges(model: Model, columns: Columns, receiver: str, column: str) -> tuple[str, ...]:
    """The edges by which a column is learned: rows that a table is asked for, and changes of weights."""
    population, visit = model.population, model.visit
    assert population is not None and visit is not None
    shared = [n.id for n in model.graph if n.op == "weight" and population.scope_of(n.id) == "global"]
    if receiver != population.hub:
        return tuple(shared)
    asked = [
        f"{ids.table}.ids"
        for ids in visit.ids
        for name in ids.features
        for source in model.graph[name].sources
        if ids.table in shared and column in made_of(source, columns)
    ]
    return tuple(dict.fromkeys([*asked, *(f"{name}.delta" for name in shared)]))
