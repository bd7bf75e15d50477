"""From the secrets that reach a place to what it can learn of each column at most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import isinf

from vflc_common.bound import Bound
from vflc_common.words import PROGRAMS

from vflc.ir.graph import SecretSource
from vflc.ir.learn import ALL, NOTHING, Learned
from vflc.ir.model import ColumnInfo, PartyInfo
from vflc.ir.release import Guard
from vflc.ir.stages import Lowered
from vflc.passes.learn.columns import code_bits, table_columns
from vflc.passes.learn.flow import Secret
from vflc.passes.learn.received import Received

Columns = Mapping[tuple[str, str], ColumnInfo]
"""Declared columns by party and name."""


def declared(model: Lowered) -> Columns:
    return {(party.name, column.name): column for party in model.parties for column in party.columns}


def made_of(source: SecretSource, columns: Columns) -> tuple[str, ...]:
    """The columns of its party's table that a feature or label is computed from."""
    return table_columns(columns[source.party, source.name])


def learned(model: Lowered, reaching: Mapping[str, Received]) -> tuple[Learned, ...]:
    """For every place, every column of every other party's table, in the order of the spec."""
    columns, found = declared(model), []
    starred = any(party.part is not None for party in model.parties)
    known = {(g.receiver, g.party, g.column) for r in model.releases for g in r.grants if g.held}
    for place, secrets in reaching.items():
        by_column: dict[tuple[str, str], dict[Secret, None]] = {}
        for secret in secrets:
            for name in made_of(secret.source, columns):
                by_column.setdefault((secret.source.party, name), {})[secret] = None
        for party in model.parties:
            if party.name in place.split("+") and not party.population:
                continue  # users of a population are receivers of what other users have
            for name, features in _made_into(party).items():
                members = by_column.get((party.name, name), {})
                ways = [way for secret in members for way in secrets[secret]]
                edges = tuple(dict.fromkeys(way.edge for way in ways))
                programs = tuple(dict.fromkeys(way.program for way in ways))
                bound = bound_of(members, columns)
                held = tuple(n for n in dict.fromkeys((name, *features)) if (place, party.name, n) in known)
                found.append(Learned(place, party.name, name, bound, edges, programs, features, held))
            if party.key and not party.population:
                # rows come in the order of their keys, also to a place that has none
                key = ", ".join(party.key)
                told = party.many or (starred and party.part is None)
                found.append(
                    Learned(
                        place,
                        party.name,
                        key,
                        Bound("counts" if told else "rows"),
                        ("alignment",),
                        PROGRAMS,
                    )
                )
    return tuple(found)


def _made_into(party: PartyInfo) -> dict[str, tuple[str, ...]]:
    """The columns of a party's table, with the features and labels that are made of each."""
    found: dict[str, dict[str, None]] = {}
    for column in party.columns:
        for name in table_columns(column):
            found.setdefault(name, {})[column.name] = None
    return {name: tuple(made) for name, made in found.items()}


def bound_of(secrets: Collection[Secret], columns: Columns) -> Bound:
    """The bound of some secrets together.

    A mechanism with a proof bounds what it lets through by itself. Where a part is in the clear,
    what the mechanisms let through is a function of codes and of chance, so that codes bound it all.
    """
    if not secrets:
        return NOTHING
    if all(secret.guard is not None for secret in secrets):
        return _composed({s.guard.id: s.guard for s in secrets if s.guard is not None}.values())
    return codes_of(secrets, columns)


def codes_of(secrets: Iterable[Secret], columns: Columns) -> Bound:
    """The bound that their codes are: of all that is computed from these and from chance, guarded or not."""
    sources = dict.fromkeys(secret.source for secret in secrets)
    bits = [code_bits(columns[source.party, source.name]) for source in sources]
    if any(b is not None and isinf(b) for b in bits):
        return ALL
    return Bound("code", None if None in bits else sum(b for b in bits if b is not None))


def _composed(guards: Iterable[Guard]) -> Bound:
    """Basic composition: ε and δ of mechanisms add up (Dwork & Roth 2014, theorem 3.16)."""
    options = [guard.options for guard in guards]
    epsilons = [option["epsilon"] for option in options]
    delta = sum(float(option.get("delta") or 0.0) for option in options)
    return Bound("epsilon", None, None if None in epsilons else float(sum(epsilons)), delta)
