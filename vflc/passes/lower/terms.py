"""Grants of a whole spec, side by side: none contradicts another, says nothing, or is said twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vflc.diagnostics import DiagnosticCollector, RelatedSpan, Span
from vflc.ir.model import PartyInfo
from vflc.ir.release import Grant, Limit, Release

Said = dict[tuple[str, str, str, str], Grant]
"""By party, receiver, column and program the first grant."""


def check_terms(
    releases: Sequence[Release], parties: Iterable[PartyInfo], collector: DiagnosticCollector
) -> None:
    """Refuses grants to the party itself, of nothing, twice of one column, and of what is denied.

    Args:
        releases: of all parties; one party may have several.
        parties: those of the spec; users of a population grant each other by the population's name.
        collector: takes one error for each place in the text.
    """
    many = {party.name for party in parties if party.population}
    said: Said = {}
    told: set[Span] = set()
    for release in releases:
        for grant in release.grants:
            if grant.span in told:  # of a family, one for all its members
                continue
            before = len(collector.errors)
            _check(grant, grant.party in many, said, collector)
            if len(collector.errors) > before:
                told.add(grant.span)
    for release in releases:
        for limit in release.limits:
            if limit.kind == "never":
                _check_denied(release.party, limit, said, collector)


def _check(grant: Grant, many: bool, said: Said, collector: DiagnosticCollector) -> None:
    if grant.receiver == grant.party and not many:
        message = f"{grant.party} grants a column to itself"
        collector.error("VFL0341", message, grant.span, "name the party that may learn it")
        return
    if grant.epsilon == 0 or grant.bits == 0:
        what = "ε = 0" if grant.epsilon == 0 else "0 bits"
        help = f"`never to {grant.receiver}: {grant.column}` denies the column"
        collector.error("VFL0344", f"a grant of at most {what} allows nothing", grant.span, help)
        return
    for program in grant.programs:
        first = said.setdefault((grant.party, grant.receiver, grant.column, program), grant)
        if first.span != grant.span:
            message = f"{grant.party}.{grant.column} is granted to {grant.receiver} twice"
            help = "keep one of them: all grants apply, so the narrower one decides"
            collector.error("VFL0343", message, grant.span, help, RelatedSpan(first.span, "first here"))
            return


def _check_denied(party: str, limit: Limit, said: Said, collector: DiagnosticCollector) -> None:
    for name in limit.names:
        for (owner, receiver, column, _), grant in said.items():
            if (owner, column) == (party, name) and (not limit.to or receiver in limit.to):
                collector.error(
                    "VFL0342",
                    f"{party}.{name} is granted to {receiver}, but also denied to it",
                    grant.span,
                    "keep one of the two",
                    RelatedSpan(limit.span, "denied here"),
                )
                return
