"""A model from stage to stage: each has what the one before has, and what a pass has added.

`Lowered` is a spec, read. Of a spec with parties come `Placed`, `ByMode`, `Differentiated`, `Optimized`,
`Partitioned` and `Scheduled`; of one with a population come `Housed` and `Vectorised`. A pass takes the
earliest stage that has what it reads, so that what is not yet placed, say, cannot be partitioned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

from msgspec import Struct, field
from vflc_common.plugins import Plugin
from vflc_common.words import EVERY_PROGRAM, FIT, PROGRAMS, Program

from vflc.diagnostics import Span
from vflc.ir.graph import Graph
from vflc.ir.learn import Evidence, Learned, Spend
from vflc.ir.model import (
    ClientGraphs,
    Edge,
    FittedTable,
    Gradient,
    Loss,
    Message,
    PartyInfo,
    PlaceSchedule,
    Population,
    Prediction,
    TrainConfig,
    Update,
)
from vflc.ir.release import Acceptance, Finding, Guard, Offer, Protection, Release


class Lowered(Struct, frozen=True, kw_only=True, eq=False):
    """What a spec says: one graph, and what is said about its parties, losses and training.

    `pushed` tells whether the graph has been written anew, for less to cross.
    """

    name: str
    graph: Graph
    parties: tuple[PartyInfo, ...]
    losses: tuple[Loss, ...]
    predictions: tuple[Prediction, ...]
    assigns: tuple[tuple[str, str], ...]
    train: TrainConfig
    fits: tuple[FittedTable, ...] = ()
    population: Population | None = None
    releases: tuple[Release, ...] = ()
    acceptances: tuple[Acceptance, ...] = ()
    protections: tuple[Protection, ...] = ()
    pushed: bool = False
    plugins: Mapping[Plugin, Span] = field(default_factory=dict)

    @classmethod
    def of(cls, before: Lowered, **added: Any) -> Self:
        """The next stage: all that the model had, with what has been added or changed."""
        had = {name: getattr(before, name) for name in before.__struct_fields__}
        return cls(**{**had, **added})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def programs(self) -> tuple[Program, ...]:
        """What its places run."""
        return EVERY_PROGRAM if self.fits else PROGRAMS

    def party(self, name: str) -> PartyInfo | None:
        return next((party for party in self.parties if party.name == name), None)


class Placed(Lowered, frozen=True, kw_only=True, eq=False):
    """Every value but constants has a place; what crosses has passed `guards` where the spec protects it.

    Args:
        places: in the order of the spec.
        offers: sums of which the terms could travel masked, and do not.
    """

    places: tuple[str, ...]
    guards: tuple[Guard, ...] = ()
    offers: tuple[Offer, ...] = ()

    def guards_of(self, node: str) -> tuple[Guard, ...]:
        """The guards that a value that crosses has passed, in that order: noise, then compression."""
        found: list[Guard] = []
        for guard in reversed(self.guards):
            if node in guard.after:
                found.append(guard)
                node = guard.before[guard.after.index(node)]
        return tuple(reversed(found))


class ByMode(Placed, frozen=True, kw_only=True, eq=False):
    """`graph` is what runs in training steps, `inference` what runs elsewhere."""

    inference: Graph

    def graph_of(self, program: Program) -> Graph:
        """The graph that a program runs on."""
        return self.graph if program == "train" else self.inference


class Differentiated(ByMode, frozen=True, kw_only=True, eq=False):
    """`graph` has backward values, and every trainable weight that the objective depends on a gradient."""

    gradients: tuple[Gradient, ...]


class Optimized(Differentiated, frozen=True, kw_only=True, eq=False):
    """`graph` has the gradients as updates read them. What each program computes is decided."""

    updates: tuple[Update, ...]

    def roots(self, program: Program) -> list[str]:
        """What a program must compute."""
        if program == FIT:
            return [fit.counts for fit in self.fits]
        wanted: list[str] = []
        if program != "predict":
            wanted += [loss.node for loss in self.losses]
        if program == "train":
            for update in self.updates:
                wanted += [update.gradient] if update.gradient else [i for pair in update.pairs for i in pair]
            wanted += [value for _, value in self.assigns]
            wanted += [value for guard in self.guards if guard.inside for _, value in guard.keeps]
        for prediction in self.predictions:
            if program != "train" or self._measured_in_training(prediction):
                wanted.append(prediction.node)
            if program != "predict":
                wanted += prediction.measured
        return list(dict.fromkeys(wanted))

    def _measured_in_training(self, prediction: Prediction) -> bool:
        """Training measures what is at the label's owner anyway, and sends nothing more for it."""
        graph, node, label = self.graph, prediction.node, prediction.label
        if label is None or graph[node].place != graph[label].place:
            return False
        needed = graph.ancestors(loss.node for loss in self.losses)
        return all(
            name in needed or graph[name].place == graph[node].place for name in graph.ancestors([node])
        )


class Told(Struct, frozen=True, kw_only=True, eq=False):
    """What edges tell, who may learn what of it, what is known to reveal it, and what protections spend."""

    disclosures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learned: tuple[Learned, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    spends: tuple[Spend, ...] = ()


class Disclosed(Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """Who may learn what, and what is known to reveal it; empty where no protection is carried out.

    Args:
        findings: what a party has to agree to.
        tell: gives all else, which no diagnostic needs, when somebody first looks.
    """

    findings: tuple[Finding, ...] = ()
    tell: Callable[[], Told] = Told

    @cached_property
    def _told(self) -> Told:
        return self.tell()

    @property
    def disclosures(self) -> Mapping[str, Mapping[str, Any]]:
        return self._told.disclosures

    @property
    def learned(self) -> tuple[Learned, ...]:
        return self._told.learned

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return self._told.evidence

    @property
    def spends(self) -> tuple[Spend, ...]:
        return self._told.spends


class Partitioned(Optimized, frozen=True, kw_only=True, eq=False):
    """Everything that crosses between places, and the messages that it travels in.

    `once` are the places that compute once for each key of a batch, where another has many rows a key.
    """

    edges: tuple[Edge, ...]
    messages: tuple[Message, ...]
    once: tuple[str, ...] = ()
    disclosed: Disclosed = Disclosed()


class Scheduled(Partitioned, frozen=True, kw_only=True, eq=False):
    """What every place does, step by step. The last stage of a spec with parties."""

    schedules: tuple[PlaceSchedule, ...]


class Housed(Placed, frozen=True, kw_only=True, eq=False):
    """A population whose values have places: global weights at the hub, all else at the users."""

    population: Population


class Vectorised(Housed, frozen=True, kw_only=True, eq=False):
    """A population whose graph runs for many users at once. The last stage of a spec with one."""

    client: ClientGraphs
    disclosed: Disclosed = Disclosed()
