"""Keys: the columns on which the parties' rows are matched."""

from __future__ import annotations

from collections.abc import Mapping

from vflc.diagnostics import RelatedSpan
from vflc.ir.model import PartyInfo
from vflc.passes.lower.evaluate import Evaluator
from vflc.syntax import tree


def lower_key(ev: Evaluator, party: tree.Party) -> tuple[str, ...]:
    """The names of a party's key columns; VFL0112 where they cannot be a key."""
    seen: dict[str, tree.Name] = {}
    for name in party.key:
        first = seen.setdefault(name.text, name)
        if first is not name:
            ev.error(
                "VFL0112",
                f"the key of {party.name.text} has `{name.text}` twice",
                name.span,
                "name each column of a key once",
                RelatedSpan(first.span, "first here"),
            )
    if party.population and len(seen) > 1:
        ev.error(
            "VFL0112",
            f"the key of the population {party.name.text} has several columns",
            party.key[0].span.to(party.key[-1].span),
            "name the one column that tells users apart, or join several in a query",
        )
    return tuple(seen)


def check_keys(ev: Evaluator, parties: Mapping[str, PartyInfo]) -> None:
    """VFL0113 where the keys of two parties have different numbers of columns: no rows can match."""
    keyed = [party for party in parties.values() if party.key]
    for party in keyed[1:]:
        first = keyed[0]
        if len(party.key) != len(first.key):
            ev.error(
                "VFL0113",
                f"the keys of {first.name} and {party.name} differ: {_listed(first)}, and {_listed(party)}",
                party.span,
                "give all parties as many key columns, those that match in the same order",
                RelatedSpan(first.span, f"the key of {first.name}"),
            )


def _listed(party: PartyInfo) -> str:
    return f"{len(party.key)} column{'s' * (len(party.key) > 1)} ({', '.join(party.key)})"
