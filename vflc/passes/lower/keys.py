"""Keys: the columns on which the parties' rows are matched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace
from vflc_common.keys import MOST_LACKING

from vflc.diagnostics import RelatedSpan
from vflc.ir.model import PartyInfo
from vflc.ir.release import Protection
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


def has_many(ev: Evaluator, party: tree.Party) -> bool:
    """Whether a party's table has many rows a key; VFL0114 where that cannot be said of it."""
    if party.many is None:
        return False
    if party.population or not party.key:
        why = "the users of a population have many rows each" if party.population else "it has no key"
        text = f"{party.name.text} cannot say how many rows a key has: {why}"
        ev.error("VFL0114", text, party.many.span, "remove it" if party.population else "name the key first")
    return party.many.text == "many"


def may_lack(ev: Evaluator, party: tree.Party) -> bool:
    """Whether a party may lack rows that others have; VFL0116 where that cannot be said of it."""
    if party.missing is None:
        return False
    why = None
    if party.population or not party.key:
        why = "it is a population" if party.population else "it has no key"
    elif party.many is not None and party.many.text == "many":
        why = "the rows that count are its own, as it has many a key"
    if why is not None:
        text = f"{party.name.text} cannot lack rows: {why}"
        ev.error("VFL0116", text, party.missing, "remove `missing party allowed`")
    return True


def key_parts(parties: Mapping[str, PartyInfo]) -> dict[str, PartyInfo]:
    """The parties, with which columns of the joined rows' key are theirs where they name some of them."""
    keyed = [party for party in parties.values() if party.key and not party.population]
    most = max((len(party.key) for party in keyed), default=0)
    whole = [party for party in keyed if len(party.key) == most]
    first = next((p for p in whole if p.many), next((p for p in whole if not p.missing), None))
    if first is None:
        return dict(parties)
    at = {name: i for i, name in enumerate(first.key)}
    return {
        name: replace(party, part=tuple(at[column] for column in party.key))
        if 0 < len(party.key) < most and not party.many and set(party.key) <= at.keys()
        else party
        for name, party in parties.items()
    }


def check_keys(ev: Evaluator, parties: Mapping[str, PartyInfo]) -> None:
    """VFL0113 where keys do not match, VFL0114 where two parties have many rows."""
    lacking = [party for party in parties.values() if party.missing]
    for party in lacking[MOST_LACKING:]:
        ev.error(
            "VFL0116",
            f"{len(lacking)} parties may lack rows, {party.name} among them; at most {MOST_LACKING} can",
            party.span,
            "remove `missing party allowed` where all rows are there",
        )
    if lacking and not any(p.key and not p.missing and p.part is None for p in parties.values()):
        ev.error(
            "VFL0116",
            f"{lacking[0].name} cannot lack rows: no other party says which there are",
            lacking[0].span,
            "remove `missing party allowed`",
        )
    many = [party for party in parties.values() if party.many]
    for party in many[1:]:
        ev.error(
            "VFL0114",
            f"{many[0].name} and {party.name} both have many rows a key: which rows match is not defined",
            party.span,
            "let one of them have one row a key, or add columns to the key until all have one",
            RelatedSpan(many[0].span, f"the key of {many[0].name}"),
        )
    keyed = [party for party in parties.values() if party.key and party.part is None]
    keyed.sort(key=lambda party: -len(party.key))
    for party in keyed[1:]:
        first = keyed[0]
        if len(party.key) != len(first.key):
            help = "give all parties as many key columns, those that match in the same order"
            if not party.many:
                help = f"name columns of the key of {first.name}: {', '.join(first.key)}"
            ev.error(
                "VFL0113",
                f"the keys of {first.name} and {party.name} differ: {_listed(first)}, and {_listed(party)}",
                party.span,
                help,
                RelatedSpan(first.span, f"the key of {first.name}"),
            )


def check_protections(
    ev: Evaluator, protections: Sequence[Protection], parties: Mapping[str, PartyInfo]
) -> None:
    """VFL0115: what a mechanism proves is of one row, which a key's rows would share or add up.

    Answers for labels are drawn once for each row of the labels' table, and all that is sent is made of
    them. So they are one row's where a row of that table is one joined row, and has a key of its own.
    """
    few = [p for p in parties.values() if p.many or p.missing or p.part is not None]
    joined = next((party for party in few if party.many), few[0] if few else None)
    if joined is None:
        return
    from vflc.ops.mechanisms import MECHANISMS  # few specs need it

    why = "many rows a key, as {} has" if joined.many else "rows that a party lacks, as {} may"
    if joined.part is not None:
        why = "a key that is a part of another's, as that of {} is"
    for protect in protections:
        labels = {value.partition(".")[0] for value in protect.target.values}
        alone = not joined.many and not labels & {party.name for party in few}
        if MECHANISMS[protect.mechanism].role == "labels" and alone:
            continue
        ev.error(
            "VFL0115",
            f"`protect` does not yet go with {why.format(joined.name)}",
            protect.span,
            "remove it, or give all parties tables with one row for each key",
            RelatedSpan(joined.span, f"the key of {joined.name}"),
        )


def _listed(party: PartyInfo) -> str:
    return f"{len(party.key)} column{'s' * (len(party.key) > 1)} ({', '.join(party.key)})"
