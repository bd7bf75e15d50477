"""What may be learned against what is granted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vflc.diagnostics import Collector, Label, Span
from vflc.ir.disclosure import Grant
from vflc.ir.graph import Source
from vflc.ir.learn import Bound
from vflc.ir.model import Edge, Model
from vflc.passes.learn.bounds import Columns, bound_of, declared, made_of
from vflc.passes.learn.columns import table_columns
from vflc.passes.learn.flow import Secret
from vflc.passes.learn.received import Received, Way

CODE = "VFL0340"
Reaching = Mapping[str, Received]


def check_grants(model: Model, reaching: Reaching, collector: Collector) -> None:
    """Refuses what a place may learn beyond the grants of the party whose columns they are."""
    for receiver, secrets in reaching.items():
        for party in dict.fromkeys(secret.source.party for secret in secrets):
            work = _Deal(model, party, receiver, secrets, declared(model))
            for message, span, help in work.exceeded():
                collector.error(CODE, message, span, help)
            if any(release.grants for release in model.releases if release.party == party):
                work.ungranted(collector)


@dataclass(frozen=True, slots=True)
class Missing:
    """A feature or label that a grant would have to name, and what its receiver may learn of it."""

    name: str
    bound: Bound


def missing_grants(model: Model, reaching: Reaching) -> dict[str, dict[str, list[Missing]]]:
    """By party and receiver what a spec would have to grant besides."""
    found: dict[str, dict[str, list[Missing]]] = {}
    for receiver, secrets in reaching.items():
        for party in dict.fromkeys(secret.source.party for secret in secrets):
            deal = _Deal(model, party, receiver, secrets, declared(model))
            if names := [Missing(source.name, deal.bound(source)) for source in deal.missing()]:
                found.setdefault(party, {})[receiver] = names
    return found


def check_denials(model: Model, reaching: Reaching, collector: Collector) -> None:
    """Refuses every way from a column that `never` names to a place that may have nothing of it."""
    columns = declared(model)
    for release in model.releases:
        for limit in release.limits:
            if limit.kind != "never":
                continue
            for receiver in limit.to or [place for place in reaching if place != release.party]:
                for name in limit.names:
                    ways = _ways(reaching[receiver], release.party, name, columns)
                    if ways:
                        edges = listed([f"`{edge}`" for edge in dict.fromkeys(way.edge for way in ways)])
                        message = f"{release.party}.{name} reaches {receiver} in {edges}"
                        help = (
                            "leave it out of what they are computed from, weights that learn from it included"
                        )
                        collector.error("VFL0305", message, limit.span, help)


def _ways(secrets: Received, party: str, name: str, columns: Columns) -> list[Way]:
    """The crossings that depend on a column, as the spec or the table calls it."""
    return [
        way
        for secret, found in secrets.items()
        if secret.source.party == party and _is_of(name, secret.source, columns)
        for way in found
    ]


def _is_of(name: str, source: Source, columns: Columns) -> bool:
    """Whether a source is, or is computed from, the column of this name."""
    info = columns.get((source.party, name))
    names = {name, *(table_columns(info) if info is not None else ())}
    return source.name in names or bool(names & set(made_of(source, columns)))


@dataclass(frozen=True, slots=True)
class _Deal:
    """What one party grants one receiver, and what reaches it."""

    model: Model
    party: str
    receiver: str
    secrets: Received
    columns: Columns

    def exceeded(self) -> Iterator[tuple[str, Span, str]]:
        """Grants whose bound is not kept."""
        for grant in self._grants():
            members = self._covered(grant)
            bound = bound_of(members, self.columns)
            if grant.held or not members or _within(bound, grant):
                continue
            yield (
                f"{self.receiver} may learn {described(bound)} of {self.party}.{grant.column}, "
                f"which is more than {self.party} grants",
                grant.span,
                _cheaper(bound, grant),
            )

    def bound(self, source: Source) -> Bound:
        """What may be learned of one source in all."""
        return bound_of([secret for secret in self.secrets if secret.source == source], self.columns)

    def missing(self) -> list[Source]:
        """Sources that no grant covers, in some program in which they are learned."""
        return list(dict.fromkeys(secret.source for secret, _ in self._uncovered()))

    def ungranted(self, collector: Collector) -> None:
        """One finding for all that is not granted, at the party's release or, without one, at the party."""
        sources = self.missing()
        if not sources:
            return
        names = listed([source.name for source in sources])
        release = next((r for r in self.model.releases if r.party == self.party), None)
        info = self.model.party(self.party)
        assert info is not None
        bound = bound_of([s for s, _ in self._uncovered() if s.source == sources[0]], self.columns)
        collector.error(
            CODE,
            f"{self.receiver} may learn {names} of {self.party}, which {self.party} does not grant: of "
            f"{sources[0].name} {described(bound)}",
            release.span if release else info.span,
            f"`to {self.receiver}: {', '.join(s.name for s in sources)}` in `release {self.party}` grants "
            "it; `stop_gradient`, a mechanism with a proof or another place may make it less",
            *self._path(sources[0]),
        )

    def _grants(self) -> list[Grant]:
        return [
            grant
            for release in self.model.releases
            for grant in release.grants
            if grant.party == self.party and grant.receiver == self.receiver
        ]

    def _covered(self, grant: Grant) -> list[Secret]:
        """Secrets of the grant's column that reach the receiver in its programs."""
        return [
            secret
            for secret, ways in self.secrets.items()
            if secret.source.party == self.party
            and grant.column in (secret.source.name, *made_of(secret.source, self.columns))
            and any(way.program in grant.programs for way in ways)
        ]

    def _uncovered(self) -> Iterator[tuple[Secret, tuple[Way, ...]]]:
        grants = self._grants()
        for secret, ways in self.secrets.items():
            if secret.source.party == self.party:
                left = tuple(way for way in ways if not self._is_granted(secret.source, way, grants))
                if left:
                    yield secret, left

    def _is_granted(self, source: Source, way: Way, grants: Iterable[Grant]) -> bool:
        """By its own name, or by all columns of the table that it is made of."""
        named = {grant.column for grant in grants if way.program in grant.programs}
        return source.name in named or all(name in named for name in made_of(source, self.columns))

    def _path(self, source: Source) -> list[Label]:
        """Where a column is declared, and the first value by which it leaves."""
        info = self.columns[source.party, source.name]
        labels = [Label(info.span, f"{source} comes from here")]
        way = next((ways[0] for secret, ways in self._uncovered() if secret.source == source), None)
        edge = next((e for e in self.model.edges if way and e.id == way.edge), None)
        if edge is not None and (span := self._span(edge)) is not None:
            labels.append(Label(span, f"and crosses to {self.receiver} in `{edge.id}`"))
        return labels

    def _span(self, edge: Edge) -> Span | None:
        return self.model.graph_of(edge.programs[0])[edge.node].span


def _within(bound: Bound, grant: Grant) -> bool:
    """Whether what is learned is no more than a grant's bound."""
    if grant.epsilon is not None:
        within = bound.kind == "epsilon" and bound.epsilon is not None
        if not within or (bound.epsilon or 0.0) > grant.epsilon * (1 + 1e-9):
            return False
    if grant.bits is not None:
        return bound.kind == "code" and bound.bits is not None and bound.bits <= grant.bits + 1e-9
    return True


def described(bound: Bound) -> str:
    """A bound in words, as part of a sentence."""
    if bound.kind == "code":
        bits = "" if bound.bits is None else f" ({bound.bits:.3g} bit{'s' * (bound.bits != 1)} a row)"
        return f"its code{bits}"
    if bound.kind == "epsilon":
        epsilon = "the ε that the run reports" if bound.epsilon is None else f"ε = {bound.epsilon:g}"
        return f"at most {epsilon}" + (f", δ = {bound.delta:g}" if bound.delta else "")
    return {"nothing": "nothing", "all": "all"}[bound.kind]


def _cheaper(bound: Bound, grant: Grant) -> str:
    if grant.epsilon is not None and bound.kind == "epsilon":
        return f"ask the mechanism for ε = {grant.epsilon:g} or less, or grant more"
    if grant.epsilon is not None:
        return (
            "let a mechanism with a proof stand before all that depends on it, as in: "
            f"protect {grant.party}.{grant.column} with label_dp(epsilon = {grant.epsilon:g})"
        )
    return "encode it into fewer codes (`bucketize`, `hash`, `vocab`), or grant more"


def listed(names: list[str], most: int = 6) -> str:
    """Names in a sentence."""
    shown = names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
