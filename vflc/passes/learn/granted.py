"""What may be learned against what is granted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from msgspec import Struct
from vflc_common.bound import Bound
from vflc_common.metrics import LOSS
from vflc_common.words import PROGRAM_WORDS, PROGRAMS, Program

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, Span
from vflc.ir.graph import SecretSource
from vflc.ir.model import PartyInfo
from vflc.ir.release import Grant
from vflc.ir.stages import Lowered, Partitioned
from vflc.passes.learn.bounds import Columns, bound_of, codes_of, declared, made_of
from vflc.passes.learn.columns import folded, table_columns
from vflc.passes.learn.flow import Secret
from vflc.passes.learn.received import WATCHED, Received, Route

CODE = "VFL0340"
LEFT_OUT = "leave it out of everything they are computed from, including weights that are trained on it"
MOST_NAMED = 12
"""Columns that a help names of those that lack a grant."""
Reaching = Mapping[str, Received]


def check_grants(model: Lowered, reaching: Reaching, collector: DiagnosticCollector) -> None:
    """Refuses what a place may learn beyond the grants of the party whose columns they are."""
    for deal in _deals(model, reaching):
        deal.exceeded(collector)
        deal.ungranted(collector)


class Missing(Struct, frozen=True):
    """A feature, a label or a family that a grant would have to name, and what is learned of it.

    Args:
        programs: where it is granted for others; none where it is not granted at all.
    """

    name: str
    bound: Bound
    programs: tuple[Program, ...] = ()


def missing_grants(model: Lowered, reaching: Reaching) -> dict[str, dict[str, list[Missing]]]:
    """By party and receiver what a spec would have to grant besides."""
    found: dict[str, dict[str, list[Missing]]] = {}
    for deal in _deals(model, reaching):
        alike = groupby(deal.missing(), deal.terms)
        names = [Missing(name, *key) for key, group in alike for name in deal.folded(s.name for s in group)]
        if names:
            found.setdefault(deal.party, {})[deal.receiver] = names
    return found


def check_denials(model: Lowered, reaching: Reaching, collector: DiagnosticCollector) -> None:
    """Refuses every way from a column that `never` names to a place that may have nothing of it."""
    columns = declared(model)
    for release in model.releases:
        ways = {receiver: _ways(secrets, release.party, columns) for receiver, secrets in reaching.items()}
        info = model.party(release.party)
        for limit in release.limits:
            if limit.kind != "never":
                continue
            for receiver in limit.to or reaching:
                alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
                for name in limit.names:
                    kin = _kin(name, release.party, columns)
                    found = dict.fromkeys(way.edge for each in kin for way in ways[receiver].get(each, ()))
                    alike[tuple(found)].append(name)
                for edges, names in alike.items():
                    if edges:
                        told = folded(names, info) if info else names
                        where = listed([f"`{edge}`" for edge in edges])
                        reach = f"reach{'es' * (len(told) == 1)} {receiver}"
                        message = f"{release.party}.{listed(told)} {reach} in {where}"
                        collector.error("VFL0305", message, limit.span, LEFT_OUT)


def _ways(secrets: Received, party: str, columns: Columns) -> Mapping[str, list[Route]]:
    """The crossings that depend on a column, by the names of it that the spec and the table have."""
    found: dict[str, list[Route]] = defaultdict(list)
    for secret, ways in secrets.items():
        if secret.source.party == party:
            for name in {secret.source.name, *made_of(secret.source, columns)}:
                found[name] += ways
    return found


def _kin(name: str, party: str, columns: Columns) -> tuple[str, ...]:
    """A column, and the columns of the table that it is computed from: who denies it denies these."""
    info = columns.get((party, name))
    return tuple(dict.fromkeys((name, *(table_columns(info) if info is not None else ()))))


def _deals(model: Lowered, reaching: Reaching) -> Iterator[_Deal]:
    """For every receiver, one with each party whose columns reach it."""
    columns = declared(model)
    for receiver, secrets in reaching.items():
        by_party: dict[str, dict[SecretSource, list[Secret]]] = {}
        for secret in secrets:
            by_party.setdefault(secret.source.party, {}).setdefault(secret.source, []).append(secret)
        for party, by_source in by_party.items():
            grants = tuple(
                grant
                for release in model.releases
                for grant in release.grants
                if (grant.party, grant.receiver) == (party, receiver)
            )
            yield _Deal(model, party, receiver, secrets, by_source, grants, columns)


class _Deal(Struct, frozen=True):
    """What one party grants one receiver, and what reaches it: of each feature and label its secrets."""

    model: Lowered
    party: str
    receiver: str
    ways: Received
    secrets: Mapping[SecretSource, list[Secret]]
    grants: tuple[Grant, ...]
    columns: Columns

    def exceeded(self, collector: DiagnosticCollector) -> None:
        """One finding for each grant whose bound is not kept: of a family, for all members together."""
        found: dict[tuple[Span, Bound, str], list[str]] = {}
        for grant, bound, help in self._exceeded():
            found.setdefault((grant.span, bound, help), []).append(grant.column)
        for (span, bound, help), columns in found.items():
            collector.error(
                CODE,
                f"{self._who} may learn {bound.of(f'{self.party}.{listed(self.folded(columns))}')}, "
                f"which is more than {self.party} grants",
                span,
                help,
            )

    def _exceeded(self) -> Iterator[tuple[Grant, Bound, str]]:
        """Grants whose bound is not kept, what is learned instead, and what would help."""
        bounded = [grant for grant in self.grants if grant.is_bounded and not grant.held]
        by_name: dict[str, list[Secret]] = {}
        for source, members in self.secrets.items() if bounded else ():
            for name in dict.fromkeys((source.name, *made_of(source, self.columns))):
                by_name.setdefault(name, []).extend(members)
        for grant in bounded:
            members = [
                secret
                for secret in by_name.get(grant.column, ())
                if any(way.program in grant.programs for way in self.ways[secret])
            ]
            bound = bound_of(members, self.columns)
            if not members or _within(bound, grant):
                continue
            if grant.bits is not None and _within(codes_of(members, self.columns), grant):
                continue  # what a mechanism makes of a code tells no more than the code
            help = _cheaper(bound, grant, all(secret.source.label for secret in members))
            if grant.epsilon is not None and any(secret.guard for secret in members):
                help = self._uncovered(grant, members) or help
            yield grant, bound, help

    def _uncovered(self, grant: Grant, members: Iterable[Secret]) -> str | None:
        """Where a mechanism stands before a part of what depends on a column: the edges of the rest."""
        bare = dict.fromkeys(
            way.edge
            for secret in members
            if secret.guard is None
            for way in self.ways[secret]
            if way.program in grant.programs
        )
        if not bare:
            return None
        how = "protect them, too"
        if set(bare) == {WATCHED}:
            how = (
                "remove `validation`, and early stopping on it, from the spec (rows that a run keeps for "
                "validation only measure)"
            )
        return f"no mechanism protects {listed([f'`{edge}`' for edge in bare])}: {how}, or grant more"

    @property
    def _info(self) -> PartyInfo:
        info = self.model.party(self.party)
        assert info is not None
        return info

    def folded(self, names: Iterable[str]) -> list[str]:
        """Columns of the party as its spec names them, by families where they form some."""
        return folded(names, self._info)

    @property
    def _who(self) -> str:
        return "other users" if self.receiver == self.party else self.receiver

    def bound(self, source: SecretSource) -> Bound:
        """What may be learned of one source in all."""
        return bound_of(self.secrets[source], self.columns)

    def missing(self) -> list[SecretSource]:
        """Sources that no grant covers, in some program in which they are learned.

        What `never` denies is a finding of its own, and no grant would mend it.
        """
        named = self._named()
        denied = {
            each
            for release in self.model.releases
            for limit in release.limits
            if release.party == self.party and limit.kind == "never"
            if not limit.to or self.receiver in limit.to
            for name in limit.names
            for each in _kin(name, self.party, self.columns)
        }
        everywhere = set.intersection(*named.values())
        return [
            source
            for source in self.secrets
            if source.name not in everywhere
            and denied.isdisjoint((source.name, *made_of(source, self.columns)))
            and self._left(source, named)
        ]

    def terms(self, source: SecretSource) -> tuple[Bound, tuple[Program, ...]]:
        """What a grant that is missing would have to say."""
        return self.bound(source), self.lacking(source)

    def lacking(self, source: SecretSource) -> tuple[Program, ...]:
        """The programs that a grant of this name lacks; none where there is no such grant."""
        if not any(grant.column == source.name for grant in self.grants):
            return ()
        return tuple(dict.fromkeys(way.program for way in self._left(source, self._named())))

    def ungranted(self, collector: DiagnosticCollector) -> None:
        """One finding for all that is not granted, at the party's release or, without one, at the party."""
        sources = self.missing()
        if not sources:
            return
        names = self.folded(source.name for source in sources)
        shown = ", ".join(names[:MOST_NAMED]) + ", …" * (len(names) > MOST_NAMED)
        release = next((r for r in self.model.releases if r.party == self.party), None)
        first, phases = sources[0], _phases(self.lacking(sources[0]))
        if len(sources) == 1:
            what = f"{self.bound(first).of(f'{self.party}.{first.name}')}{phases}"
            more = ""
        else:
            what = f"{listed(names)} of {self.party}"
            more = f": {self.bound(first).of(first.name)}{phases}"
        collector.error(
            CODE,
            f"{self._who} may learn {what}, which {self.party} does not grant{more}",
            release.span if release else self._info.named,
            f"`to {self.receiver}: {shown}` in `release {self.party}` grants it, and `vflc check --fix` "
            "writes it; `stop_gradient`, a mechanism with a proof or another place may lower it"
            f"{self._sums()}{self._best(sources)}",
            *self._path(first),
        )

    def _best(self, sources: Iterable[SecretSource]) -> str:
        """Columns of which the receiver learns by nothing but what the watched metric decides."""
        named, train = self._named(), self.model.train
        alone = [s.name for s in sources if {way.edge for way in self._left(s, named)} == {WATCHED}]
        if not alone:
            return ""
        told, cures = list[str](), list[str]()
        if train.best:
            told.append("which epoch is the best")
            cures.append("`best false`")
        if train.patience is not None:
            told.append("when training stops")
            cures.append("no `patience`")
        return (
            f"; all that tells {self.receiver} of {listed(self.folded(alone))} is {listed(told)}, "
            f"by `{train.monitor or LOSS}` of the rows for validation: with {listed(cures)} in `train` "
            "nothing does"
        )

    def _sums(self) -> str:
        """Sums by which these columns reach the receiver, of which a mask would hide the terms."""
        if not isinstance(self.model, Partitioned):
            return ""
        edges = {way.edge for own in self.secrets.values() for secret in own for way in self.ways[secret]}
        read = {edge.node for edge in self.model.edges if edge.id in edges}
        offers = (o for o in self.model.offers if o.place == self.receiver and read.intersection(o.terms))
        return "".join(f"; {offer.text}, under the same grant" for offer in offers)

    def _named(self) -> dict[str, set[str]]:
        """The columns that are granted, by the program in which they may be learned."""
        named: dict[str, set[str]] = {program: set() for program in PROGRAMS}
        for grant in self.grants:
            for program in grant.programs:
                named[program].add(grant.column)
        return named

    def _left(self, source: SecretSource, named: Mapping[str, set[str]]) -> list[Route]:
        """Crossings of a source that are not granted, by its own name or all columns that it is made of."""
        made = made_of(source, self.columns)
        covered = {
            program
            for program, names in named.items()
            if source.name in names or all(name in names for name in made)
        }
        ways = (way for secret in self.secrets[source] for way in self.ways[secret])
        return [way for way in ways if way.program not in covered]

    def _path(self, source: SecretSource) -> list[RelatedSpan]:
        """Where a column is declared, and the first value by which it leaves."""
        info = self.columns[source.party, source.name]
        labels = [RelatedSpan(info.span, f"{source} comes from here")]
        way = self._left(source, self._named())[0]
        if isinstance(self.model, Partitioned) and (span := _crossing(self.model, way.edge)) is not None:
            labels.append(RelatedSpan(span, f"and crosses to {self.receiver} in `{way.edge}`"))
        return labels


def _crossing(model: Partitioned, edge_id: str) -> Span | None:
    """The text of the value that crosses by an edge; None of what is no edge, as a control message."""
    edge = next((edge for edge in model.edges if edge.id == edge_id), None)
    return None if edge is None else model.graph_of(edge.programs[0])[edge.node].span


def _phases(programs: tuple[Program, ...]) -> str:
    return f" in {listed([PROGRAM_WORDS[program] for program in programs])}" if programs else ""


def _within(bound: Bound, grant: Grant) -> bool:
    """Whether what is learned is no more than a grant's bound."""
    if grant.epsilon is not None:
        spent = bound.epsilon if bound.kind == "epsilon" else None
        if spent is None or spent > grant.epsilon * (1 + 1e-9):
            return False
    if grant.bits is not None:
        return bound.kind == "code" and bound.bits is not None and bound.bits <= grant.bits + 1e-9
    return True


def _cheaper(bound: Bound, grant: Grant, label: bool) -> str:
    if grant.epsilon is not None and bound.kind == "epsilon":
        return f"ask the mechanism for ε = {grant.epsilon:g} or less, or grant more"
    if grant.epsilon is not None:
        what = f"{grant.party}.{grant.column}" if label else "VALUE"
        from vflc.ops.mechanisms import suggested

        how = suggested("labels" if label else "noise", grant.epsilon)
        return (
            "put a mechanism with a proof before everything that depends on it, in all phases: protect "
            f"{what} with {how}"
        )
    return "encode it into fewer codes (`bucketize`, `hash`, `vocab`), or grant more"


def listed(names: list[str], most: int = 6) -> str:
    """Names in a sentence."""
    shown = names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
